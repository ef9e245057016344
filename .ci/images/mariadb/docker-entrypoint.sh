#!/bin/bash
# The official image's entrypoint, as far as the tests use it. It makes the data
# directory at the first start from MARIADB_ROOT_PASSWORD, MARIADB_ROOT_HOST,
# MARIADB_DATABASE, MARIADB_USER and MARIADB_PASSWORD, and runs the server with
# the arguments given.
set -euo pipefail

if [ "${1:0:1}" = - ]; then
	set -- mariadbd "$@"
fi
if [ "$1" != mariadbd ] && [ "$1" != mysqld ]; then
	exec "$@"
fi

datadir=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then
	install -d -o mysql -g mysql "$datadir" /run/mysqld
	exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
fi

# quote prints its argument as an SQL string.
quote() {
	local q="'" s=${1//\\/\\\\}
	printf "'%s'" "${s//$q/$q$q}"
}

# The marker, and not the directory, says that initialisation came to its end.
if [ ! -f "$datadir/.initialised" ]; then
	if [ -z "${MARIADB_ROOT_PASSWORD:-}" ]; then
		echo "MARIADB_ROOT_PASSWORD is not set" >&2
		exit 1
	fi
	mariadb-install-db --no-defaults --datadir="$datadir" --auth-root-authentication-method=normal --skip-test-db
	{
		password=$(quote "$MARIADB_ROOT_PASSWORD")
		host=$(quote "${MARIADB_ROOT_HOST:-%}")
		# Bootstrap begins without the grant tables, and these hold a root
		# without a password for each of the machine's names.
		echo "DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';"
		echo "DELETE FROM mysql.proxies_priv WHERE Host <> 'localhost';"
		echo "FLUSH PRIVILEGES;"
		echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $password;"
		echo "CREATE OR REPLACE USER 'root'@$host IDENTIFIED BY $password;"
		echo "GRANT ALL ON *.* TO 'root'@$host WITH GRANT OPTION;"
		if [ -n "${MARIADB_DATABASE:-}" ]; then
			echo "CREATE DATABASE \`${MARIADB_DATABASE//\`/\`\`}\`;"
		fi
		if [ -n "${MARIADB_USER:-}" ]; then
			user="$(quote "$MARIADB_USER")@'%'"
			echo "CREATE USER $user IDENTIFIED BY $(quote "${MARIADB_PASSWORD:?}");"
			if [ -n "${MARIADB_DATABASE:-}" ]; then
				echo "GRANT ALL ON \`${MARIADB_DATABASE//\`/\`\`}\`.* TO $user;"
			fi
		fi
	} | mariadbd --no-defaults --datadir="$datadir" --bootstrap
	touch "$datadir/.initialised"
fi

exec "$@"
