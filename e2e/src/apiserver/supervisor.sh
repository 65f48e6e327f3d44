# Runs etcd and kube-apiserver for as long as its standard input stays open, then removes their folder.
# The input closes when the test process ends, however it ends: even SIGKILL leaves nothing behind.
# Usage: bash -c "$(cat supervisor.sh)" supervisor <folder> <etcd> [arguments] -- <kube-apiserver> [arguments]
folder=$1
shift
etcd=()
while [ "$1" != -- ]; do
    etcd+=("$1")
    shift
done
shift
exec 3<&0 2>"$folder/supervisor.log"
setpriv --pdeathsig KILL -- "${etcd[@]}" >"$folder/etcd.log" 2>&1 3<&- &
etcd=$!
setpriv --pdeathsig KILL -- "$@" >"$folder/kube-apiserver.log" 2>&1 3<&- &
apiserver=$!
cat <&3 >"$folder/owner" &
owner=$!
wait -n
ended=$?
# The API server first: without etcd it hangs for minutes.
kill -KILL $apiserver && wait $apiserver
kill -KILL $etcd && wait $etcd
# Still waiting means that a program ended by itself: its log is worth reading, and the test process cleans up.
kill $owner || rm -rf "$folder"
exit $ended
