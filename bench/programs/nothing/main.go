// Command nothing ends as soon as it starts.
package main

func main() {}
