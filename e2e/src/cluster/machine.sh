# The first process of the cluster's machine: a set of namespaces of its own (processes, mounts, network), in which the control plane, the kubelet and all
# pods live. When this process ends, the kernel ends them all, and their mounts, interfaces and packet filters with them.
# Usage: bash -c "$(cat machine.sh)" machine <cache folder> <file to make when ready>
set -e
cache=$1
ready=$2

# Whatever a program writes under /run and /var is written in memory. The cache alone stays what it is, even where it lies under /var.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/cache /run/var /run/work /run/lock /run/sysctl
mount --bind "$cache" /run/cache
mount -t overlay -o lowerdir=/var,upperdir=/run/var,workdir=/run/work overlay /var
mount --bind /run/cache "$cache"

# The kubelet sets these for the whole kernel. Here it finds them set.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=/run/sysctl/$(basename "${setting%=*}")
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done

hostname trellis3d
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward

touch "$ready"
# Wait for ever, and reap the processes that lost their parents.
sleep infinity &
wait
