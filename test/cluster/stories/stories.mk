# Stories of a whole cluster on this machine: two nodes, the image of this checkout, the chart. Included by the Makefile at the root. Root, Debian.
STORIES ?= test/cluster/stories

.PHONY: e2e-cluster e2e-cluster-full e2e-cluster-tools

e2e-cluster: build cluster-full e2e-cluster-tools ## The first story of a whole cluster: install, traffic, restart under load, helm test, uninstall (root)
	test/cluster/stories/all test/cluster/stories/first.test.ts

e2e-cluster-full: build cluster-full e2e-cluster-tools ## Every story of a whole cluster: half an hour (root; STORIES=path picks some)
	test/cluster/build prometheus
	test/cluster/stories/all $(STORIES)

# The client by quic-go, curl with HTTP/3, and the addon of the image: one that is there is taken as it is.
e2e-cluster-tools:
	@[ -e native/spooky-quic.node ] || $(MAKE) -s --no-print-directory native
	test/e2e/tools/go install
	test/e2e/tools/sid install
