package cgroup

import (
	"reflect"
	"strings"
	"testing"
)

func TestHierarchiesOfKindsOfMachines(t *testing.T) {
	const line = "30 23 0:26 "
	for _, tc := range []struct {
		name, mounts, groups string
		want                 []hierarchy
	}{
		{
			"systemd, cgroup2 alone",
			line + "/ /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n23 1 0:5 / /proc rw - proc proc rw\n",
			"0::/system.slice/kita.service\n",
			[]hierarchy{{v2: true, mount: "/sys/fs/cgroup", root: "/", own: "/sys/fs/cgroup/system.slice/kita.service"}},
		},
		{
			"hybrid",
			line + "/ /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n" +
				line + "/ /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" +
				line + "/ /sys/fs/cgroup/cpu,cpuacct rw shared:2 master:1 - cgroup cgroup rw,cpu,cpuacct\n" +
				line + "/ /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n" +
				line + "/ /sys/fs/cgroup/pids rw - cgroup cgroup rw,release_agent=/lib/agent,pids\n",
			"4:cpuacct,cpu:/a\n3:pids:/\n2:blkio:/x\n1:name=systemd:/b\n0::/c\n",
			[]hierarchy{
				{v2: true, mount: "/sys/fs/cgroup/unified", root: "/", own: "/sys/fs/cgroup/unified/c"},
				{controllers: []string{"cpu", "cpuacct"}, mount: "/sys/fs/cgroup/cpu,cpuacct", root: "/", own: "/sys/fs/cgroup/cpu,cpuacct/a"},
				{controllers: []string{"pids"}, mount: "/sys/fs/cgroup/pids", root: "/", own: "/sys/fs/cgroup/pids"},
			},
		},
		{
			"container that sees its own part",
			line + "/docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"9:memory:/docker/abc/x\n",
			[]hierarchy{{controllers: []string{"memory"}, mount: "/sys/fs/cgroup/memory", root: "/docker/abc", own: "/sys/fs/cgroup/memory/x"}},
		},
		{
			"container, the server is not below what it sees",
			line + "/docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
			"0::/docker/abcd\n",
			[]hierarchy{{v2: true, mount: "/sys/fs/cgroup", root: "/docker/abc"}},
		},
		{
			"namespace, the server was moved out of it",
			line + "/ /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
			"0::/../other\n",
			[]hierarchy{{v2: true, mount: "/sys/fs/cgroup", root: "/"}},
		},
		{
			"two mounts, the second shows it",
			line + "/a /mnt/a rw - cgroup2 cgroup rw\n" + line + "/ /mnt/with\\040space rw - cgroup2 cgroup rw\n" + line + "/ /mnt/c rw - cgroup2 cgroup rw\n",
			"0::/b\n",
			[]hierarchy{{v2: true, mount: "/mnt/with space", root: "/", own: "/mnt/with space/b"}},
		},
		{
			"a mount that Path could not name",
			line + "/ /mnt/two\\012lines rw - cgroup2 cgroup rw\n",
			"0::/b\n",
			nil,
		},
		{
			"no text of this kind",
			"\n-\n - cgroup2\n1 2 3 / - cgroup2 a b\n1 2 3 / /x rw cgroup2 a b\n",
			"\n0:\nx\n",
			nil,
		},
	} {
		if got := hierarchies(tc.mounts, tc.groups); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tc.name, got, tc.want)
		}
	}
}

func FuzzHierarchies(f *testing.F) {
	f.Add("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/a\n")
	f.Add("30 23 0:26 /d /c\\040x rw - cgroup c rw,cpu,cpuacct\n", "4:cpuacct,cpu:/d/..\n")
	f.Fuzz(func(t *testing.T, mounts, groups string) {
		for _, h := range hierarchies(mounts, groups) {
			if strings.Contains(h.mount+h.own, "\n") {
				t.Errorf("%+v has more than a line", h)
			}
			if h.own != "" && h.own != h.mount && !strings.HasPrefix(h.own, strings.TrimSuffix(h.mount, "/")+"/") {
				t.Errorf("%+v is not below its mount", h)
			}
		}
	})
}
