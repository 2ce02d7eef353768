module berth.test/cluster/probe

go 1.26
