package printable

import "fmt"

// Scale returns the unit for n bytes, and its size.
func Scale(n int64) (unit string, size float64) {
	unit, size = "B", 1
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if float64(n)/size < 1000 {
			break
		}
		unit, size = u, size*1024
	}
	return unit, size
}

// Size formats n bytes: "48.2 MiB".
func Size(n int64) string {
	unit, size := Scale(n)
	if size == 1 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", float64(n)/size, unit)
}
