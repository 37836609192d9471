# Sourced after $LIB: what MariaDB's tests share. The server runs as its own user.
export MYSQL_PWD=secret

# new_data: an empty data folder, and a certificate.
new_data() {
  chmod 755 .
  install -d -o mysql -m 750 data
  mysql_install_db --no-defaults --user=mysql --datadir="$PWD/data" --auth-root-authentication-method=normal --skip-test-db \
    --innodb-flush-method=nosync --innodb-log-file-size=32M >install.txt 2>&1
  self_signed server
  chown mysql server.key
  cp server.pem "$EXCHANGE"
}

# root has no password, but may come by the unix socket only.
as_root() { MYSQL_PWD='' mariadb --no-defaults --user=root --socket=/tmp/mariadb.sock --execute="$1"; }

# start_mariadb: its pid is in $mariadb then. A user for the network has the password and may all.
start_mariadb() {
  mariadbd --defaults-file="$APP_DIR/mariadb.cnf" --user=mysql --datadir="$PWD/data" --ssl-cert="$PWD/server.pem" \
    --ssl-key="$PWD/server.key" 2>>mariadb.log &
  mariadb=$!
  wait_for 60 "server at its unix socket" as_root "SELECT 1"
  as_root "
    CREATE USER IF NOT EXISTS tester@'%' IDENTIFIED BY '$MYSQL_PWD'; GRANT ALL ON *.* TO tester@'%'; CREATE DATABASE IF NOT EXISTS test"
}

no_complaints() {
  # One connection is killed, one has the wrong password: both by intent.
  if grep -E '\[ERROR\]|Aborted connection|signal' mariadb.log | grep -vE 'KILLED|Access denied'; then fail "complaints in the server's log"; fi
}

# sql ADDRESS COMMAND OPTION…: its result, bare.
sql() { mariadb --no-defaults --skip-ssl --user=tester --host="$1" --batch --raw --skip-column-names --execute="$2" "${@:3}" test; }
sql_says() { [[ $(sql "$1" "$2" "${@:4}") == "$3" ]]; }
