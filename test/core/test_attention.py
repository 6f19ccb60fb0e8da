"""Our attention is PyTorch's, with its parameters."""

from __future__ import annotations

import torch
from torch import nn

from tggbc_ros.core.attention import Attention


def test_equals_torch_multihead_attention() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    nn.init.normal_(theirs.in_proj_bias)
    ours = Attention(32, 4)
    ours.load_state_dict(theirs.state_dict())
    query, key, value = torch.randn(2, 5, 32), torch.randn(2, 9, 32), torch.randn(2, 9, 32)
    torch.testing.assert_close(ours(query, key, value), theirs(query, key, value)[0])
    blocked = torch.rand(5, 9) > 0.7
    torch.testing.assert_close(ours(query, key, value, blocked), theirs(query, key, value, attn_mask=blocked)[0])
