# Tests against a real Kubernetes. Included by the Makefile at the root.
# Its programs are built from Go modules on first use, into ~/.cache/spooky/cluster (CLUSTER_HOME), and taken from KUBEBUILDER_ASSETS where they are there.
CLUSTER_NODE = $(firstword $(wildcard node_modules/node-linux-*/bin/node) node)
CLUSTER_JEST = $(CLUSTER_NODE) --experimental-vm-modules --no-warnings node_modules/jest/bin/jest.js --runInBand --forceExit
APISERVER_TESTS ?= test/cluster/apiserver

.PHONY: e2e-apiserver cluster-api cluster-oldest cluster-full

e2e-apiserver: build engine cluster-api ## Tests against a real kube-apiserver and etcd (APISERVER_TESTS=path picks some)
	SPOOKY_SUITE=apiserver $(ON_ENGINE) test/cluster/isolated $(CLUSTER_JEST) $(APISERVER_TESTS)

cluster-api: ## Build what e2e-apiserver needs: ten minutes the first time
	test/cluster/build api
	test/cluster/build tools

cluster-oldest: ## Build the oldest kube-apiserver that we support, which e2e-apiserver tries too where it is there
	test/cluster/build oldest

cluster-full: ## Build what a whole cluster needs: half an hour the first time
	test/cluster/build full
