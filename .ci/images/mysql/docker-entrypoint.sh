#!/bin/bash
# The official image's entrypoint, as far as the tests use it. It makes the data
# directory at the first start from MYSQL_ROOT_PASSWORD, MYSQL_ROOT_HOST,
# MYSQL_DATABASE, MYSQL_USER and MYSQL_PASSWORD, and runs the server with the
# arguments given.
set -euo pipefail

if [ "${1:0:1}" = - ]; then
	set -- mysqld "$@"
fi
if [ "$1" != mysqld ]; then
	exec "$@"
fi

datadir=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then
	install -d -o mysql -g mysql "$datadir" /var/lib/mysql-files /run/mysqld
	exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
fi

# quote prints its argument as an SQL string.
quote() {
	local q="'" s=${1//\\/\\\\}
	printf "'%s'" "${s//$q/$q$q}"
}

# The marker, and not the directory, says that initialisation came to its end.
if [ ! -f "$datadir/initialised" ]; then
	if [ -z "${MYSQL_ROOT_PASSWORD:-}" ]; then
		echo "MYSQL_ROOT_PASSWORD is not set" >&2
		exit 1
	fi
	statements=$(mktemp)
	{
		password=$(quote "$MYSQL_ROOT_PASSWORD")
		root="'root'@$(quote "${MYSQL_ROOT_HOST:-%}")"
		echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $password;"
		echo "CREATE USER IF NOT EXISTS $root IDENTIFIED BY $password;"
		echo "GRANT ALL ON *.* TO $root WITH GRANT OPTION;"
		if [ -n "${MYSQL_DATABASE:-}" ]; then
			echo "CREATE DATABASE \`${MYSQL_DATABASE//\`/\`\`}\`;"
		fi
		if [ -n "${MYSQL_USER:-}" ]; then
			user="$(quote "$MYSQL_USER")@'%'"
			echo "CREATE USER $user IDENTIFIED BY $(quote "${MYSQL_PASSWORD:?}");"
			if [ -n "${MYSQL_DATABASE:-}" ]; then
				echo "GRANT ALL ON \`${MYSQL_DATABASE//\`/\`\`}\`.* TO $user;"
			fi
		fi
	} >"$statements"
	mysqld --no-defaults --datadir="$datadir" --initialize-insecure --init-file="$statements"
	rm -f "$statements"
	touch "$datadir/initialised"
fi

exec "$@"
