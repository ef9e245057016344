package main

const (
	flowWidth, flowHeight = 640, 844
	nameSize, noteSize    = 17, 16
)

// A box is a part that data flows through.
type box struct {
	x, y, width, height int
	name                string
	notes               []string // lines below the name
}

const (
	left, leftWidth   = 98, 232 // the boxes from the program to the server
	right, rightWidth = 444, 176
)

var (
	program   = box{left, 54, leftWidth, 42, "Your program", nil}
	pool      = box{left, 136, leftWidth, 60, "Pool", []string{"database/sql or pgxpool"}}
	connector = box{left, 276, leftWidth, 60, "Connector", []string{"reads DSN and JSON"}}
	resolver  = box{left, 380, leftWidth, 84, "Resolver", []string{"knows the version that", "new logins use"}}
	gate      = box{left, 508, leftWidth, 84, "Gate", []string{"holds back a version", "that was rejected"}}
	cache     = box{right, 374, rightWidth, 96, "Cache", []string{"keeps the secret", "until its TTL"}}
	vendor    = box{left, 644, leftWidth, 60, "Vendor's driver", []string{"pgx, go-mssqldb, …"}}
	server    = box{left, 752, leftWidth, 42, "Database server", nil}
	source    = box{right, 644, rightWidth, 150, "Source", []string{"Secrets Manager,", "its agent,", "Lambda extension,", "files or variables"}}
)

// dataFlow draws the way of the data through the library.
func dataFlow() string {
	c := newCanvas(flowWidth, flowHeight, "How data flows through sqlsecrets",
		"The program gives a data source name, which has the secret's name, to database/sql or pgxpool. "+
			"A pool that needs a connection calls Connect. The connector asks the resolver for a version of the secret. "+
			"The resolver gets it from the cache, and the cache from a source: Secrets Manager, its agent, the Lambda extension, files or environment variables. "+
			"If the gate allows the login, the vendor's driver sends user and password to the database server. "+
			"The pool gets the vendor's own connection. "+
			"If the server rejects the login, the resolver refreshes the secret, once for all callers, and logs in with the new version.")
	c.text("bold", 20, 20, 36, "How data flows through sqlsecrets")
	c.rect("group", 48, 238, flowWidth-48-10, 364)
	c.text("bold", nameSize, right, 268, "sqlsecrets")

	for _, b := range []box{program, pool, connector, resolver, gate, cache, vendor, server, source} {
		c.box(b)
	}
	c.down(program, pool, "DSN: the secret's name")
	c.down(pool, connector, "Connect call")
	c.down(connector, resolver, "secret, stage")
	c.down(resolver, gate, "version to try")
	c.down(gate, vendor, "user, password")
	c.down(vendor, server, "login")

	c.across(394, "line", resolver.x+resolver.width, cache.x, "get")
	c.across(423, "line", cache.x, resolver.x+resolver.width, "version")
	c.across(452, "rejected", resolver.x+resolver.width, cache.x, "refresh")
	c.arrow("line", right+12, cache.y+cache.height, right+12, source.y)
	c.text("", noteSize, right+20, 540, "fetch")
	c.arrow("line", right+98, source.y, right+98, cache.y+cache.height)
	c.text("", noteSize, right+106, 540, "version")

	c.arrow("rejected", left, 660, 80, 660, 80, 440, left, 440)
	c.upwards("rejection", noteSize, 72, 550, "rejection")
	c.arrow("back", left, 688, 16, 688, 16, 166, left, 166)
	c.upwards("", noteSize, 36, 420, "the vendor's own connection")
	c.text("rejection", noteSize, 20, 824, "Rejected? One refresh for all callers, then a login with the new version.")
	return c.end()
}

// box draws a box with its text in the middle.
func (c *canvas) box(b box) {
	c.rect("box", b.x, b.y, b.width, b.height)
	y := b.y + (b.height-22*len(b.notes))/2 + 6
	c.text("bold middle", nameSize, b.x+b.width/2, y, b.name)
	for n, note := range b.notes {
		c.text("middle", noteSize, b.x+b.width/2, y+22*(n+1), note)
	}
}

// down draws an arrow from a box to the one below it, and what flows there.
func (c *canvas) down(from, to box, what string) {
	x := from.x + from.width/2
	c.arrow("line", x, from.y+from.height, x, to.y)
	c.text("", noteSize, x+10, from.y+from.height+28, what)
}

// across draws an arrow to the right or to the left, and what flows there above it.
func (c *canvas) across(y int, class string, from, to int, what string) {
	c.arrow(class, from, y, to, y)
	text := "middle"
	if class == "rejected" {
		text += " rejection"
	}
	c.text(text, noteSize, (from+to)/2, y-5, what)
}
