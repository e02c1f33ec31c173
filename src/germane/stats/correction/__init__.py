"""People's paired difference, with a judge used as far as it helps: prediction-powered correction by an audit."""

from germane.stats.correction.documents import corrected_documents
from germane.stats.correction.planning import best_audit_share, corrected_se, corrected_variance
from germane.stats.correction.queries import Corrected, corrected

__all__ = ["Corrected", "best_audit_share", "corrected", "corrected_documents", "corrected_se", "corrected_variance"]
