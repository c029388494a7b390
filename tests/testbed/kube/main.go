// Command kube is a multi-call Kubernetes: link it, or call it, as etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, kubelet, kube-proxy, coredns or kubectl.
//
// One binary instead of eight, because they share most of their packages: building all of them
// together takes little longer than building kube-apiserver alone, and kubelet, kube-proxy and
// coredns, which only a cluster with nodes needs, add 190 packages to 2,636.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // CronJobs name time zones, and a test machine may have no database of them

	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var commands = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
}

// others have a main function of their own.
var others = map[string]func(){
	"etcd":    func() { etcdmain.Main(os.Args) },
	"coredns": coremain.Run,
}

func main() {
	name := filepath.Base(os.Args[0])
	if !known(name) && len(os.Args) > 1 {
		name, os.Args = os.Args[1], os.Args[1:] // called as `kube NAME ...`
	}
	if run, ok := others[name]; ok {
		run()
		return
	}
	command, ok := commands[name]
	if !ok {
		fmt.Fprintln(os.Stderr, "usage: kube NAME ..., with NAME one of etcd kube-apiserver "+
			"kube-controller-manager kube-scheduler kubelet kube-proxy coredns kubectl")
		os.Exit(2)
	}
	dropShorthands()
	os.Exit(cli.Run(command()))
}

func known(name string) bool {
	return commands[name] != nil || others[name] != nil
}

// dropShorthands takes CoreDNS's global flag -p away, which kubectl would believe to be its own:
// it panics when `patch` or `logs` define theirs.
func dropShorthands() {
	all := flag.CommandLine
	flag.CommandLine = flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	all.VisitAll(func(f *flag.Flag) {
		if len(f.Name) > 1 {
			flag.CommandLine.Var(f.Value, f.Name, f.Usage)
		}
	})
}
