package build

import (
	"encoding/json"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/event"
)

// TestChangeData: the event of a change fits the event log however many tasks it
// was about, or a large build could not be cancelled.
func TestChangeData(t *testing.T) {
	t.Parallel()
	ids := make([]albs.TaskID, 200_000)
	for i := range ids {
		ids[i] = albs.TaskID(1_000_000_000_000 + i)
	}
	b, err := json.Marshal(changeData(ids))
	if err != nil || len(b) > event.MaxData {
		t.Errorf("%d bytes of data, %v; at most %d go", len(b), err, event.MaxData)
	}
	if d := changeData(ids[:2]); d["count"] != 2 || len(d["tasks"].([]albs.TaskID)) != 2 {
		t.Errorf("changeData of two = %v", d)
	}
}
