"""What churn means: the subscription ended in the month after the as_of.

The billing system delivers the answer together with the month itself, so it matures at once.
"""

from streamflow.use_case import Label

CHURN = Label(table="labels", column="churn_label")
