package mysqld

// PlaceArgs is for a test that holds them against a server's options.
func PlaceArgs() []string { return placeArgs("/data", "/home") }
