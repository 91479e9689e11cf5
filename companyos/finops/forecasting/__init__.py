"""What days to come will cost: predictors, an interval around what they say, and the test of both on the past."""

from companyos.finops.forecasting.backtest import TOLERANCE, Backtest, backtest
from companyos.finops.forecasting.conformal import LEVEL, Forecaster, Interval, Trial
from companyos.finops.forecasting.predictors import PREDICTORS, Predictors

__all__ = (
    "LEVEL",
    "PREDICTORS",
    "TOLERANCE",
    "Backtest",
    "Forecaster",
    "Interval",
    "Predictors",
    "Trial",
    "backtest",
)
