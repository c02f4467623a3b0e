"""The use case of many months, whose versions go to Production with a second person's approval."""

from __future__ import annotations

from dataclasses import replace

from tests.monthly_churn import use_case as monthly

use_case = replace(monthly, gates=replace(monthly.gates, approval=True))
