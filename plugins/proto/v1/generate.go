// Package pluginv1 is version 1 of the messages between remora and its plugins.
//
// The .proto files are the contract and never change; README.md of the directory above
// says what they leave open.
package pluginv1

//go:generate ../generate.sh
