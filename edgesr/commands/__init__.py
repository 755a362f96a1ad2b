"""The commands of the command line, by what they work on; each fills in a recipe and calls on."""
