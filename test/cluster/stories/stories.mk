# Stories of a whole cluster on this machine: two nodes, the image of this checkout, the chart. Included by the Makefile at the root. Root, Debian.
STORIES ?= test/cluster/stories

.PHONY: e2e-cluster e2e-cluster-full e2e-cluster-tools

e2e-cluster: build engine cluster-full e2e-cluster-tools ## The first story of a whole cluster: install, traffic, restart under load, helm test, uninstall (root)
	test/cluster/stories/all test/cluster/stories/first.test.ts

e2e-cluster-full: build engine cluster-full e2e-cluster-tools ## Every story of a whole cluster: half an hour (root; STORIES=path picks some)
	test/cluster/build prometheus
	test/cluster/stories/all $(STORIES)

# The client by quic-go, and curl with HTTP/3.
e2e-cluster-tools:
	test/e2e/tools/go install
	test/e2e/tools/sid install
