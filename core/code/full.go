package code

import (
	"errors"
	"syscall"
)

// Full gives an error the code NoSpace if it says that the file system is full.
func Full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return Default(NoSpace, err)
	}
	return err
}
