"""Keys, certificates, tokens and kubeconfigs of a cluster, made in Python (0.1 s; no openssl needed)."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.errors import TestbedError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:  # pragma: no cover
    raise TestbedError("the Python package `cryptography` is needed: pip install cryptography") from error

LIFE = datetime.timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate, as PEM."""

    key: bytes
    certificate: bytes


class Authority:
    """A certificate authority of our own: it signs the server's certificate, and users' for authentication."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        """Use this key and certificate."""
        self._key = key
        self._certificate = certificate

    @classmethod
    def new(cls) -> Authority:
        """Make an authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("durablejob-testbed-ca")
        builder = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def load(cls, pair: Pair) -> Authority:
        """Return the authority that was kept as PEM."""
        key = serialization.load_pem_private_key(pair.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TestbedError("the authority's key is not ours")
        return cls(key, x509.load_pem_x509_certificate(pair.certificate))

    @property
    def pair(self) -> Pair:
        """The authority itself as PEM."""
        return Pair(private_pem(self._key), self._certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, *hosts: str) -> Pair:
        """Sign a certificate of a server that is called by these names or addresses."""
        names: list[x509.GeneralName] = [_general_name(host) for host in hosts]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._sign(_name("kube-apiserver"), usage, x509.SubjectAlternativeName(names))

    def user(self, name: str, groups: Sequence[str] = ()) -> Pair:
        """Sign a certificate that kube-apiserver takes for this user, in these groups."""
        return self._sign(_name(name, groups), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _sign(self, subject: x509.Name, usage: x509.ObjectIdentifier, *extensions: x509.ExtensionType) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._certificate.subject, key)
        for extension in (x509.ExtendedKeyUsage([usage]), *extensions):
            builder = builder.add_extension(extension, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Pair(private_pem(key), certificate.public_bytes(serialization.Encoding.PEM))


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a private key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public half of a key as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def signing_request(name: str, groups: Sequence[str]) -> tuple[bytes, bytes]:
    """Make a key and a request for a user's certificate, both as PEM."""
    key = new_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(name, groups)).sign(key, hashes.SHA256())
    return private_pem(key), request.public_bytes(serialization.Encoding.PEM)


def new_token() -> str:
    """Make a bearer token."""
    return secrets.token_hex(16)


def kubeconfig(server: str, authority: bytes, user: dict[str, str]) -> str:
    """Return a kubeconfig (JSON, which is YAML) with everything inline."""
    name = "testbed"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": inline(authority)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }
    return json.dumps(config, indent=1)


def certificate_user(pair: Pair) -> dict[str, str]:
    """Return a kubeconfig's user who shows a certificate."""
    return {"client-certificate-data": inline(pair.certificate), "client-key-data": inline(pair.key)}


def inline(data: bytes) -> str:
    """Encode for a kubeconfig's `*-data` fields."""
    return base64.b64encode(data).decode()


def write_secret(path: Path, data: bytes | str) -> Path:
    """Write a file that only we may read."""
    path.touch(mode=0o600)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def _name(common: str, groups: Sequence[str] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + LIFE)
    )
