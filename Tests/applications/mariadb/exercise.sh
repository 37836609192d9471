# Sourced by the client's side: what a server gets to do. $1 and $2 are its addresses.

load_data() {
  step "LOAD DATA, and back"
  head -c "$(size 3M 75M)" /dev/urandom | base64 --wrap=120 >lines
  sql "$1" "CREATE TABLE lines_of_text (n INT AUTO_INCREMENT PRIMARY KEY, line VARCHAR(200)) CHARACTER SET ascii"
  sql "$1" "LOAD DATA LOCAL INFILE 'lines' INTO TABLE lines_of_text (line)" --local-infile=1
  sql "$2" "SELECT line FROM lines_of_text ORDER BY n" --quick >read
  check "md5 of the lines" "$(md5 lines)" "$(md5 read)"
  sql "$1" "SELECT line FROM lines_of_text ORDER BY n" --compress >compressed
  check "md5 by the compressed protocol" "$(md5 lines)" "$(md5 compressed)"
}

tls() {
  step "TLS, and one large value"
  local with=(--ssl --ssl-ca="$EXCHANGE/server.pem" --ssl-verify-server-cert)
  check "cipher" "Ssl_version TLSv1.3" "$(sql "$1" "SHOW STATUS LIKE 'Ssl_version'" "${with[@]}" | xargs)"
  random_file value "$(size 2M 48M)"
  sql "$1" "CREATE TABLE large (value LONGBLOB)"
  printf "INSERT INTO large VALUES (FROM_BASE64('%s'));" "$(base64 --wrap=0 value)" |
    mariadb --no-defaults --user=tester --host="$2" --max-allowed-packet=256M "${with[@]}" test
  check "md5 as the server computes it" "$(md5 value)" "$(sql "$1" "SELECT md5(value) FROM large")"
  sql "$2" "SELECT to_base64(value) FROM large" --max-allowed-packet=256M "${with[@]}" | base64 --decode >got
  check "md5 of the large value by TLS" "$(md5 value)" "$(md5 got)"
}

dump() {
  step "mariadb-dump"
  mariadb-dump --no-defaults --user=tester --host="$2" --max-allowed-packet=256M --hex-blob test >dump.sql
  sql "$1" "CREATE DATABASE copy"
  mariadb --no-defaults --user=tester --host="$1" --max-allowed-packet=256M copy <dump.sql
  check "checksums of the copy" "$(sql "$1" "CHECKSUM TABLE lines_of_text, large EXTENDED" | cut -f 2 | xargs)" \
    "$(sql "$1" "CHECKSUM TABLE copy.lines_of_text, copy.large EXTENDED" | cut -f 2 | xargs)"
}

kill_query() {
  step "cancelled queries"
  local statement sleeper words
  for statement in "KILL QUERY" "KILL"; do
    mariadb --no-defaults --skip-ssl --user=tester --host="$1" --execute="SELECT SLEEP(600) FROM (SELECT 1) t WHERE 1" test >slept 2>&1 &
    sleeper=$!
    wait_for 30 "sleeper" sql_says "$2" "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'" 1
    sql "$2" "$statement $(sql "$1" "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'")"
    wait "$sleeper" || true # an interrupted SLEEP() returns 1 in a result, a killed connection is an error
    words=$(xargs <slept)
    check "$statement" "$(if [[ $statement == KILL ]]; then echo killed; else echo interrupted; fi)" \
      "$(case $words in *'Connection was killed'* | *'Lost connection'*) echo killed ;; *' 1' | *interrupted*) echo interrupted ;; *) echo "$words" ;; esac)"
  done
  if MYSQL_PWD=wrong sql "$1" "SELECT 1" 2>refused; then fail "a wrong password is taken"; fi
  grep -q "Access denied" refused || fail "a wrong password: $(cat refused)"
}

slap() {
  step "mariadb-slap"
  local queries
  queries=$(size 500 20000)
  slap_with "$1" write "$queries"
  slap_with "$2" key "$queries"
  check "most connections at once" t "$(sql "$1" "SHOW STATUS LIKE 'Max_used_connections'" | awk '{ print $2 >= 20 ? "t" : $2 }')"
}

# slap_with ADDRESS WHAT QUERIES: 20 clients that insert, or read by key.
slap_with() {
  local begin=$EPOCHREALTIME
  mariadb-slap --no-defaults --skip-ssl --user=tester --host="$1" --concurrency=20 --number-of-queries="$3" --auto-generate-sql \
    --auto-generate-sql-load-type="$2" --auto-generate-sql-add-autoincrement --create-schema="slap_$2" | tee slap.txt
  check "clients" 20 "$(sed -n 's/.*Number of clients running queries: //p' slap.txt)"
  note "mariadb-slap ($2) with 20 clients: $(awk -v queries="$3" -v begin="$begin" -v end="$EPOCHREALTIME" \
    'BEGIN { printf "%d", queries / (end - begin) }') queries/s"
}

exercise() {
  load_data "$@"
  tls "$@"
  dump "$@"
  kill_query "$@"
  slap "$@"
}
