#!/bin/sh
# Ships a log file to JetStream through Sluice, one message a line: every line once, in order, whatever kills this script.
#
# usage: ship.sh [-f] [-h host] [-n partitions] [-s state-file] log-file
#   -f             follow the file for ever, also when it is rotated to log-file.1 (default: stop at its end)
#   -h host        the end of the subject logs.p<partition>.<host> (default: the name of this machine)
#   -n partitions  a line's partition is its checksum modulo this (default: 4)
#   -s state-file  where the position is kept (default: <name of the log>.position in the current folder)
#
# environment: SLUICE_URL            default http://127.0.0.1:8787
#              SLUICE_AUTHORIZATION  value of the Authorization header, such as `Bearer …` (default: none)
#              STREAM                default LOGS; it is made, for the subjects logs.>, where it does not exist
#              BATCH_LINES           requests that share a run of curl, 1 to 9999 (default: 500)
#
# A message is a line with its newline, so that all messages of a host, one after the other, are the file again, byte
# for byte. A last line without a newline is sent as it is (with -f: once it is complete), a line longer than
# PIECE_BYTES in pieces. Needs curl 7.76 or newer; ends with 0 when all is shipped, 1 when it cannot go on, 2 when it is
# called wrongly.
set -eu
LC_ALL=C
export LC_ALL
umask 077

# Below the max_payload of NATS, 1 MiB by default, with room for the headers.
PIECE_BYTES=1000000
# How long the stream remembers a key: after a crash, start again within this, or lines may be stored twice.
DUPLICATE_WINDOW_MS=600000
# What says that a file is still the one it was, besides its inode number: a checksum of so many bytes at its start.
HEAD_BYTES=1024
LONGEST_WAIT_S=30

say() {
  echo "ship.sh: $*" >&2
}

stop() {
  say "$*"
  exit 1
}

wrong_call() {
  say "$*"
  sed -n '/^# usage/,/^#$/s/^# \{0,1\}//p' "$script" >&2
  exit 2
}

absolute() {
  case $1 in
    /*) echo "$1" ;;
    *) echo "$PWD/$1" ;;
  esac
}

# ---- the file ----

inode_of() {
  ls -diL -- "$1" 2>/dev/null | { read -r number _ && echo "$number"; } || true
}

checksum_of_head() {
  head -c "$2" -- "$1" | cksum | { read -r sum _ && echo "$sum"; }
}

# Is $1 the file that the state is about, and all of what was read still there?
is_the_same() {
  [ "$(inode_of "$1")" = "$inode" ] &&
    [ "$(wc -c <"$1")" -ge "$end" ] &&
    [ "$(checksum_of_head "$1" "$head_bytes")" = "$head_sum" ]
}

# The generation keeps the keys of two files apart that have the same inode number, one after the other.
begin_file() {
  inode=$(inode_of "$log")
  generation=$((generation + 1))
  offset=0 end=0 head_bytes=0 head_sum=$(cksum </dev/null | { read -r sum _ && echo "$sum"; })
}

# Sets `source` to the file to read from; to nothing where there is none yet.
find_source() {
  source=$log
  if [ -z "$inode" ]; then
    begin_file
  elif is_the_same "$log"; then
    return 0
  elif is_the_same "$log.1"; then
    source=$log.1
  else
    say "$log was replaced or cut short after byte $offset: what was not shipped of it is gone; beginning with what is there now"
    begin_file
  fi
  [ -n "$inode" ] || source=
}

# Copies what is to be sent next into `batch` and cuts it into line.aaa, line.aab …: each with its newline, no byte changed.
# A batch that was begun before a crash is cut again exactly as it was, even if the file has grown since.
cut_batch() {
  rm -f line.*
  if [ "$end" -gt "$offset" ]; then
    tail -c "+$((offset + 1))" -- "$source" | head -c "$((end - offset))" >batch
    split -l 1 -a 3 batch line.
  else
    tail -c "+$((offset + 1))" -- "$source" | head -c "$PIECE_BYTES" | head -n "$BATCH_LINES" >batch
    split -l 1 -a 3 batch line.
    drop_incomplete_line
  fi
}

# Leaves the last line for later where it has no newline yet and is neither the end of the file nor a piece of a long line.
drop_incomplete_line() {
  last=$(ls | sed -n '/^line\./h;${g;p;}')
  [ -n "$last" ] && [ "$(tail -c 1 "$last" | wc -l)" -eq 0 ] || return 0
  if [ "$(wc -c <batch)" -eq "$PIECE_BYTES" ]; then
    [ "$last" = line.aaa ] || rm "$last"
  elif [ "$follow" = yes ] && [ "$source" = "$log" ]; then
    rm "$last"
  fi
}

# Writes `plan`: one line per message with its file, the position after it, its subject and its Idempotency-Key.
plan_batch() {
  begun=$end
  set -- line.*
  [ -e "$1" ] || { : >plan; return 0; }
  cksum "$@" | awk -v at="$offset" -v partitions="$partitions" -v host="$host" -v id="$host:$log_sum:$inode:$generation" '{
    key = sprintf("%s:%.0f:%s", id, at, $1)
    at += $2
    printf "%s %.0f logs.p%d.%s %s\n", $3, at, $1 % partitions, host, key
  }' >plan
  end=$(awk 'END { print $2 }' plan)
  [ "$begun" -eq "$offset" ] || [ "$begun" -eq "$end" ] || stop "$source could not be read to byte $begun"
}

# ---- the position ----

# What is acknowledged (offset) and what is being sent (end), in one step: a reader sees the old state or the new one.
save_state() {
  state="$inode $generation $offset $end $head_bytes $head_sum"
  [ "$state" != "$saved" ] || return 0
  echo "$state" >"$state_file.new"
  sync "$state_file.new"
  mv "$state_file.new" "$state_file"
  saved=$state
}

load_state() {
  inode='' generation=0 offset=0 end=0 head_bytes=0 head_sum='' saved=''
  [ -e "$state_file" ] || return 0
  read -r inode generation offset end head_bytes head_sum <"$state_file" || stop "$state_file is not readable"
  case "$inode$generation$offset$end$head_bytes$head_sum" in
    *[!0-9]*) stop "$state_file is not a state file of this script" ;;
  esac
  [ -n "$head_sum" ] || stop "$state_file is not a state file of this script"
}

# ---- the bridge ----

# What all requests have in common, as curl's configuration file has it.
write_options() {
  cat <<END
request = "POST"
header = "Expect:"
fail-with-body
connect-timeout = 10
max-time = 60
output = "answer"
dump-header = "headers"
write-out = "%{http_code} %{exitcode} %{content_type}\n"
END
  [ -z "${SLUICE_AUTHORIZATION-}" ] ||
    printf '%s\n' "$SLUICE_AUTHORIZATION" | sed 's/[\\"]/\\&/g; s/.*/header = "Authorization: &"/'
}

# Writes the requests of the plan from message $1 on, in order, for one run of curl over one connection.
write_publishes() {
  tail -n "+$1" plan | awk -v url="$url" '
    NR == 1 { while ((getline option <"options") > 0) options = options option "\n" }
    NR > 1 { print "next" }
    {
      print "url = \"" url "/v1/subjects/" $3 "/messages\""
      print "header = \"Idempotency-Key: " $4 "\""
      print "header = \"Content-Type: text/plain\""
      print "upload-file = \"" $1 "\""
      printf "%s", options
    }'
}

# Sends `requests` one after the other and stops at the first that fails, so that no line overtakes another.
# Sets `status` and `curl_exit` to those of the last request sent.
send_requests() {
  rm -f answer headers
  curl_exit=0
  curl --disable --silent --show-error --fail-early --config requests >statuses 2>complaints || curl_exit=$?
  status=$(awk 'END { print $1 + 0 }' statuses)
}

# Waits before the same requests are sent again, where the answer says that this is safe and can help; else stops.
# Problems say it themselves. Where something else answered (a proxy) or nothing, every request here is safe to repeat.
wait_or_stop() {
  if grep -q '"retryable": *true' answer 2>/dev/null; then
    :
  elif grep -q '"retryable": *false' answer 2>/dev/null; then
    stop "$1 was refused and a retry cannot help: $(cat answer)"
  else
    case $status:$curl_exit in
      [45]??:22) case $status in 408 | 425 | 429 | 500 | 502 | 503 | 504 | 52? | 530) ;; *) stop "$1 was answered $status, not by Sluice" ;; esac ;;
      # No connection, or one that broke: resolve, connect, partial answer, time-out, TLS, empty answer, send, receive, HTTP/2.
      *:5 | *:6 | *:7 | *:16 | *:18 | *:28 | *:35 | *:52 | *:55 | *:56 | *:92) ;;
      *) stop "$1 failed with status $status: $(tail -n 1 complaints)" ;;
    esac
  fi
  told=$(sed -n 's/^[Rr][Ee][Tt][Rr][Yy]-[Aa][Ff][Tt][Ee][Rr]: *\([0-9]\{1,4\}\)[^0-9]*$/\1/p' headers 2>/dev/null | tail -n 1)
  [ "${told:-0}" -le "$wait_s" ] || wait_s=$told
  code=$(sed -n 's/.*"code": *"\([a-z_]*\)".*/\1/p' answer 2>/dev/null || true)
  say "$1 failed (${code:-$(tail -n 1 complaints)}); again in $wait_s s"
  sleep "$wait_s"
  wait_s=$((wait_s * 2))
  [ "$wait_s" -le "$LONGEST_WAIT_S" ] || wait_s=$LONGEST_WAIT_S
}

# 409: it is there, with settings of its own. 403: we may only publish; whether it is there, the first line will tell.
make_stream() {
  printf '{"name":"%s","subjects":["logs.>"],"duplicate_window_ms":%s}' "$stream" "$DUPLICATE_WINDOW_MS" >stream.json
  {
    echo "url = \"$url/v1/streams\""
    echo 'header = "Content-Type: application/json"'
    echo 'upload-file = "stream.json"'
    cat options
  } >requests
  wait_s=1
  while :; do
    send_requests
    case $status:$curl_exit in
      200:0 | 201:0 | 403:22 | 409:22) return 0 ;;
    esac
    wait_or_stop "making the stream $stream"
  done
}

# Sends the plan until all of it is acknowledged. After a failure it goes on with the message that failed, under the same key.
send_batch() {
  messages=$(wc -l <plan)
  acknowledged=0 wait_s=1
  while :; do
    write_publishes "$((acknowledged + 1))" >requests
    send_requests
    set -- $(awk '!/^20[01] 0 application\/json/ { exit } { n++ } /^200/ { known++ } END { print n + 0, known + 0 }' statuses)
    if [ "$1" -gt 0 ]; then
      acknowledged=$((acknowledged + $1)) shipped=$((shipped + $1)) duplicates=$((duplicates + $2)) wait_s=1
      offset=$(sed -n "${acknowledged}{s/^[^ ]* \([0-9]*\) .*/\1/p;q;}" plan)
    fi
    [ "$acknowledged" -lt "$messages" ] || return 0
    save_state
    wait_or_stop "the line at byte $offset"
  done
}

# ---- the whole ----

ship() {
  shipped=0 duplicates=0
  while :; do
    find_source
    if [ -n "$source" ]; then
      cut_batch
      # Rotated while it was read: look again where the file is now.
      [ "$(inode_of "$source")" = "$inode" ] || continue
      plan_batch
      if [ -s plan ]; then
        [ "$offset" -gt 0 ] || remember_head
        save_state
        send_batch
        continue
      fi
      save_state
      if [ "$source" != "$log" ]; then
        begin_file
        continue
      fi
    fi
    [ "$follow" = yes ] || return 0
    sleep 1
  done
}

remember_head() {
  head_bytes=$(wc -c <batch)
  [ "$head_bytes" -le "$end" ] || head_bytes=$end
  [ "$head_bytes" -le "$HEAD_BYTES" ] || head_bytes=$HEAD_BYTES
  head_sum=$(checksum_of_head batch "$head_bytes")
}

script=$0 follow=no host=$(uname -n) partitions=4 state_file=
while getopts fh:n:s: option; do
  case $option in
    f) follow=yes ;;
    h) host=$OPTARG ;;
    n) partitions=$OPTARG ;;
    s) state_file=$OPTARG ;;
    *) wrong_call "unknown option" ;;
  esac
done
shift $((OPTIND - 1))
[ $# -eq 1 ] || wrong_call "name one log file"
log=$(absolute "$1")
state_file=$(absolute "${state_file:-$(basename -- "$1").position}")
url=${SLUICE_URL:-http://127.0.0.1:8787} url=${url%/}
stream=${STREAM:-LOGS}
BATCH_LINES=${BATCH_LINES:-500}

[ -f "$log" ] && [ -r "$log" ] || wrong_call "$1 is not a file that can be read"
case $host in '' | *[!A-Za-z0-9._-]* | .* | *. | *..*) wrong_call "a host is letters, digits, - and _, in parts with dots between" ;; esac
case $stream in '' | *[!A-Za-z0-9_-]*) wrong_call "a stream here is letters, digits, - and _" ;; esac
case $partitions in '' | *[!0-9]* | 0* | ?????*) wrong_call "partitions: 1 to 9999" ;; esac
case $BATCH_LINES in '' | *[!0-9]* | 0* | ?????*) wrong_call "BATCH_LINES: 1 to 9999" ;; esac
case $url in *[[:space:]\"\\]*) wrong_call "SLUICE_URL must not hold white space, quotes or backslashes" ;; http://?* | https://?*) ;; *) wrong_call "SLUICE_URL must begin with http:// or https://" ;; esac
command -v curl >/dev/null || stop "curl is missing"

# A place of its own beside the state; what a killed run left there goes. A curl that outlived its script then stops, or, at
# the worst, sends what is sent here too, in the same order and under the same keys.
work=$state_file.work.$$
log_sum=$(printf '%s' "$log" | cksum | { read -r sum _ && echo "$sum"; })
rm -rf -- "$state_file".work.* 2>/dev/null || true
mkdir -- "$work"
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cd -- "$work"

write_options >options
load_state
make_stream
ship
echo "$1: $shipped lines acknowledged, $duplicates of them known before; at byte $offset"
