package contract

// openSesame returns the contract that is built into the program.
func openSesame() *Contract {
	c, err := Load("../../ci/opensesame/contract.toml")
	if err != nil {
		panic(err)
	}
	return c
}
