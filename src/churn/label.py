"""The label: a subscriber has churned if the subscription ended in the month after the as_of.

The billing system delivers the labels together with the month, so their horizon is zero.
"""

from streamflow.use_case import Label

CHURN = Label(table="labels", column="churn_label")
