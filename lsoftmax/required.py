"""How much lambda each sample needs: what an adaptive lambda follows."""

import torch
from torch import Tensor

from lsoftmax.autocast import no_autocast
from lsoftmax.blockwise import few_rows
from lsoftmax.checks import check_m, check_tensors
from lsoftmax.margin import compute_dtype, psi_value
from lsoftmax.target import target_cosine


@torch.no_grad()
def required_lambda(features: Tensor, weight: Tensor, labels: Tensor, *, m: int) -> Tensor:
    """The least lambda at which each row's target logit, margin and all, still beats its strongest rival.

    With z the plain target logit and r the largest other logit:

        0                               where |w||x| psi >= r       (the row wins under the full margin)
        (r - |w||x| psi) / (z - r)      else, where z > r
        inf                             else                        (it loses even without a margin)

    Args:
        features, weight, labels, m: as in `lsoftmax_logits`; features and weight may differ in floating dtype, as
            they do after a forward pass under autocast.

    Returns:
        (N,) in float32 or better, without a graph and without a host synchronisation. A row that is not finite has inf
        or nan.

    Raises:
        ValueError, TypeError: as `lsoftmax_logits`.
    """
    check_m(m)
    check_tensors(features, weight, labels, same_dtype=False)
    with no_autocast(features):
        dtype = compute_dtype(features.dtype, weight.dtype)
        weights = weight.to(dtype).T
        parts = few_rows(features.to(dtype), labels, len(weight))
        lead = torch.cat([_lead(x @ weights, y) for x, y in parts])
        cosine, norm_x, norm_w = target_cosine(features, weight, labels)
        fall = cosine.sub(psi_value(cosine, m)).mul_(norm_x).mul_(norm_w)  # z - |w||x| psi
        least = torch.where(lead > 0, (fall - lead) / lead, torch.inf)
        return least.masked_fill_(fall <= lead, 0.0).squeeze(1)


def _lead(logits: Tensor, labels: Tensor) -> Tensor:
    """(N, 1): by how much the target logit beats its strongest rival, z - r. The logits are used up."""
    index = labels.unsqueeze(1)
    target = logits.gather(1, index)
    return target.sub_(logits.scatter_(1, index, -torch.inf).amax(dim=1, keepdim=True))
