#!/usr/bin/env bash
# Condenses the golden tests' output (standard input) to one line a stage: how many tensors were compared, and the one closest to its tolerance.
awk '
    !/^parity/ || / skipped: / { next }
    { compared[$2]++; if (!($2 in worst)) { order[++stages] = $2; worst[$2] = -1 } }
    $4 != "max" { next }
    { share = $8 > 0 ? $6 / $8 : 0 }
    share > worst[$2] { worst[$2] = share; tensor[$2] = $3; error[$2] = $6; tolerance[$2] = $8 }
    END {
        printf "%-28s %8s  %-28s %10s %10s\n", "stage", "compared", "closest to its tolerance", "max error", "tolerance"
        for (i = 1; i <= stages; i++) {
            stage = order[i]
            if (worst[stage] < 0) printf "%-28s %8d  %-28s\n", stage, compared[stage], "(names, shapes, exact values)"
            else printf "%-28s %8d  %-28s %10.1e %10.1e\n", stage, compared[stage], tensor[stage], error[stage], tolerance[stage]
        }
    }' | { read -r head; echo "$head"; sort; }
