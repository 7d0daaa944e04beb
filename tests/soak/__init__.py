"""Random schedules of faults against whole recoveries, judged by an oracle that shares nothing with the product."""
