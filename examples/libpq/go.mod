module github.com/sqlsecrets/sqlsecrets/examples/libpq

go 1.25.0

replace github.com/sqlsecrets/sqlsecrets => ../../

require (
	github.com/lib/pq v1.12.3
	github.com/sqlsecrets/sqlsecrets v0.0.0-00010101000000-000000000000
)
