package main

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// newMan is hidden: packages of this program call it once, when they are built.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the man pages of all commands to DIR, which exists",
		Hidden: true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("%s: %d arguments given, want DIR", c.CommandPath(), len(args)))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return writeManPages(c.Root(), args[0]) },
	}
}

// writeManPages writes NAME.1 for the program, and NAME-COMMAND.1 for each command that help lists.
func writeManPages(root *cobra.Command, dir string) error {
	root.DisableAutoGenTag = true
	for _, c := range append(root.Commands(), root) {
		if !c.IsAvailableCommand() && c != root {
			continue
		}
		page, err := manPage(c)
		if err != nil {
			return err
		}
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
		if err := regular.AnyFile(filepath.Join(dir, name)).Write(page); err != nil {
			return fmt.Errorf("write man page: %w", err)
		}
	}
	return nil
}

// manPage makes the page of a command, with the texts of its help.
func manPage(c *cobra.Command) ([]byte, error) {
	long, short := c.Long, c.Short
	defer func() { c.Long, c.Short = long, short }()
	c.Short = escapeMarkdown.Replace(short)
	c.Long = markdown(cmp.Or(long, short)) + "\n# EXIT STATUS\n" + markdown(exitCodes)
	header := &doc.GenManHeader{Source: toolName + " " + version, Manual: toolName}
	if t := thisBuild().time; !t.IsZero() {
		header.Date = &t
	}
	var page bytes.Buffer
	if err := doc.GenMan(c, header, &page); err != nil {
		return nil, fmt.Errorf("make man page of %s: %v", c.CommandPath(), err)
	}
	return page.Bytes(), nil
}

var escapeMarkdown = strings.NewReplacer("\\", "\\\\", "*", "\\*", "_", "\\_", "`", "\\`", "<", "\\<", "[", "\\[")

// markdown returns a text of help as Markdown. Indented lines are tables, and keep their line breaks.
func markdown(text string) string {
	var b strings.Builder
	table := false
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		if indented := strings.HasPrefix(line, "  "); indented != table {
			b.WriteString("\n```\n")
			table = indented
		}
		if !table {
			line = escapeMarkdown.Replace(line)
		}
		b.WriteString(line)
	}
	if table {
		b.WriteString("```\n")
	}
	return b.String()
}
