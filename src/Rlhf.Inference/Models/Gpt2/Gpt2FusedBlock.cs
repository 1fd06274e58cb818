using System.Collections.Concurrent;
using Rlhf.Models.Fused;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Models.Gpt2;

/// <summary>
/// A block's forward and backward pass on the CPU, each one call into libtorch, with the backward pass written out: it keeps seven
/// tensors of a block, computes cheap ones again, and adds the residual stream within the matrix products.
/// </summary>
/// <remarks>
/// N packed tokens, B rows of at most T tokens, H heads, D width. The 12 parameters p are those of <see cref="Gpt2Block.Parameters"/>.
/// The numbers are those of <see cref="Gpt2Block.Forward"/> but for rounding; dropout is not in it.
/// </remarks>
internal static class Gpt2FusedBlock
{
    private const string Functions = """
        def gelu_backward(dy: Tensor, u: Tensor, tanh: bool) -> Tensor:
          if tanh:
            du = torch.gelu_backward(dy, u, approximate="tanh")
          else:
            du = torch.gelu_backward(dy, u)
          return du
        def heads(x: Tensor, rows: int, n_head: int) -> List[Tensor]:
          t = torch.size(x, 0) // rows
          d = torch.size(x, 1) // 3
          split = torch.view(x, [rows, t, 3, n_head, d // n_head])
          return [torch.transpose(torch.select(split, 2, 0), 1, 2), torch.transpose(torch.select(split, 2, 1), 1, 2), torch.transpose(torch.select(split, 2, 2), 1, 2)]
        def merge(x: Tensor, pack: Optional[Tensor]) -> Tensor:
          y = torch.flatten(torch.flatten(torch.transpose(x, 1, 2), 2, 3), 0, 1)
          if pack is not None:
            y = torch.index_select(y, 0, pack)
          return y
        def forward(x: Tensor, p: List[Tensor], pad: Optional[Tensor], pack: Optional[Tensor], rows: int, n_head: int, scale: float, eps: float, tanh: bool, keep: bool, keys: Optional[Tensor], values: Optional[Tensor]) -> List[Tensor]:
          d = torch.size(x, 1)
          h, mean, rstd = torch.native_layer_norm(x, [d], p[0], p[1], eps)
          qkv = self.product(h, p[2], p[3])
          if pad is not None:
            qkv = torch.index_select(qkv, 0, pad)
          q, k, v = self.heads(qkv, rows, n_head)
          if keys is not None:
            if values is not None:
              t = torch.size(q, 2)
              torch.copy_(torch.narrow(keys, 1, 0, t), torch.flatten(torch.transpose(k, 1, 2), 2, 3))
              torch.copy_(torch.narrow(values, 1, 0, t), torch.flatten(torch.transpose(v, 1, 2), 2, 3))
          out, lse = torch._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0., True, attn_mask=None, scale=scale)
          x1 = self.add_product(x, self.merge(out, pack), p[4], p[5])
          h2, mean2, rstd2 = torch.native_layer_norm(x1, [d], p[6], p[7], eps)
          if keep:
            u = self.product(h2, p[8], p[9])
            g = self.gelu(u, tanh)
            kept = [x, qkv, out, lse, x1, u, g]
          else:
            g = self.product_gelu(h2, p[8], p[9], tanh)
            kept = annotate(List[Tensor], [])
          return torch.add([self.add_product(x1, g, p[10], p[11])], kept)
        def backward(dy: Tensor, kept: List[Tensor], p: List[Tensor], pack: Optional[Tensor], rows: int, n_head: int, scale: float, eps: float, tanh: bool) -> List[Tensor]:
          x, qkv, out, lse, x1, u, g = kept
          d = torch.size(x, 1)
          h2, mean2, rstd2 = torch.native_layer_norm(x1, [d], p[6], p[7], eps)
          dp10 = self.product(torch.t(g), dy, None)
          dp11 = torch.sum(dy, [0])
          du = self.gelu_backward(self.product_by_transposed(dy, p[10]), u, tanh)
          dp8 = self.product(torch.t(h2), du, None)
          dp9 = torch.sum(du, [0])
          dh2 = self.product_by_transposed(du, p[8])
          dn2, dp6, dp7 = torch.native_layer_norm_backward(dh2, x1, [d], mean2, rstd2, p[6], p[7], [True, True, True])
          dx1 = torch.add_(dn2, dy)
          dp4 = self.product(torch.t(self.merge(out, pack)), dx1, None)
          dp5 = torch.sum(dx1, [0])
          da = self.product_by_transposed(dx1, p[4])
          if pack is not None:
            da = torch.index_copy_(torch.new_zeros(da, [torch.size(qkv, 0), d]), 0, pack, da)
          t = torch.size(qkv, 0) // rows
          q, k, v = self.heads(qkv, rows, n_head)
          dout = torch.transpose(torch.view(da, [rows, t, n_head, d // n_head]), 1, 2)
          dq, dk, dv = torch._scaled_dot_product_flash_attention_for_cpu_backward(dout, q, k, v, out, lse, 0., True, attn_mask=None, scale=scale)
          dqkv = torch.cat([self.merge(dq, pack), self.merge(dk, pack), self.merge(dv, pack)], 1)
          h, mean, rstd = torch.native_layer_norm(x, [d], p[0], p[1], eps)
          dp2 = self.product(torch.t(h), dqkv, None)
          dp3 = torch.sum(dqkv, [0])
          dh = self.product_by_transposed(dqkv, p[2])
          dn, dp0, dp1 = torch.native_layer_norm_backward(dh, x, [d], mean, rstd, p[0], p[1], [True, True, True])
          return [torch.add_(dn, dx1), dp0, dp1, dp2, dp3, dp4, dp5, dp6, dp7, dp8, dp9, dp10, dp11]
        def decode(x: Tensor, p: List[Tensor], keys: Tensor, values: Tensor, slots: Tensor, mask: Optional[Tensor], longest: int, n_head: int, scale: float, eps: float, tanh: bool) -> Tensor:
          rows = torch.size(x, 0)
          d = torch.size(x, 1)
          h, mean, rstd = torch.native_layer_norm(x, [d], p[0], p[1], eps)
          qkv = self.product(h, p[2], p[3])
          torch.index_copy_(torch.view(keys, [-1, d]), 0, slots, torch.narrow(qkv, 1, d, d))
          torch.index_copy_(torch.view(values, [-1, d]), 0, slots, torch.narrow(qkv, 1, 2 * d, d))
          q = torch.transpose(torch.view(torch.narrow(qkv, 1, 0, d), [rows, 1, n_head, d // n_head]), 1, 2)
          k = torch.transpose(torch.unflatten(torch.narrow(torch.narrow(keys, 0, 0, rows), 1, 0, longest), 2, [n_head, d // n_head]), 1, 2)
          v = torch.transpose(torch.unflatten(torch.narrow(torch.narrow(values, 0, 0, rows), 1, 0, longest), 2, [n_head, d // n_head]), 1, 2)
          out, lse = torch._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0., False, attn_mask=mask, scale=scale)
          x1 = self.add_product(x, torch.view(torch.transpose(out, 1, 2), [rows, d]), p[4], p[5])
          h2, mean2, rstd2 = torch.native_layer_norm(x1, [d], p[6], p[7], eps)
          return self.add_product(x1, self.product_gelu(h2, p[8], p[9], tanh), p[10], p[11])
        """;

    private static readonly ConcurrentDictionary<(MatrixLibrary, MatrixPrecision), OperatorScript> Scripts = [];

    private static OperatorScript Script => Scripts.GetOrAdd((MatrixProduct.Library, MatrixProduct.Precision),
        kind => new OperatorScript(MatrixProduct.Definitions(kind.Item1, kind.Item2) + Functions));

    /// <summary>Can blocks of this shape compute this way?</summary>
    public static bool Supports(Gpt2Config config, Tensor parameter) =>
        FusedBlocks.Enabled && parameter.device_type == DeviceType.CPU && parameter.dtype == ScalarType.Float32
        && config.ActivationFunction is "gelu" or "gelu_new" or "gelu_pytorch_tanh";

    /// <summary>The block's output [N, D], and what its backward pass needs.</summary>
    public static (Tensor Output, Tensor[] Kept) ForwardToTrain(Gpt2Block block, Tensor x, PackedBatch batch)
    {
        var results = Forward(block, x, batch, keep: true, null);
        return (results[0], results[1..]);
    }

    /// <summary>The block's output [N, D]; keeps keys and values [B, T, D] in a cache's layer.</summary>
    public static Tensor Forward(Gpt2Block block, Tensor x, PackedBatch batch, (Tensor Keys, Tensor Values)? cache) =>
        Forward(block, x, batch, keep: false, cache)[0];

    private static Tensor[] Forward(Gpt2Block block, Tensor x, PackedBatch batch, bool keep, (Tensor Keys, Tensor Values)? cache) =>
        Script.InvokeList("forward", x, block.Parameters, batch.PadIndex, batch.PackIndex, batch.RowCount, block.Config.NHead,
            block.AttentionScale, block.Config.LayerNormEpsilon, UsesTanh(block), keep, cache?.Keys, cache?.Values);

    /// <summary>Gradients of the block's input [N, D] and of its 12 parameters, from that of its output [N, D].</summary>
    public static (Tensor Input, Tensor[] Parameters) Backward(
        Gpt2Block block, Tensor outputGradient, Tensor[] kept, PackedBatch batch)
    {
        var results = Script.InvokeList("backward", outputGradient, kept, block.Parameters, batch.PackIndex, batch.RowCount,
            block.Config.NHead, block.AttentionScale, block.Config.LayerNormEpsilon,
            UsesTanh(block));
        return (results[0], results[1..]);
    }

    /// <summary>One token for each row: [rows, D] to [rows, D].</summary>
    public static Tensor Decode(Gpt2Block block, Tensor x, Gpt2DecodingStep step, Tensor keys, Tensor values) =>
        Script.Invoke("decode", x, block.Parameters, keys, values, step.Slots, step.Mask, step.Longest, block.Config.NHead,
            block.AttentionScale, block.Config.LayerNormEpsilon, UsesTanh(block));

    /// <summary>Is GELU the approximation by tanh, as in GPT-2?</summary>
    private static bool UsesTanh(Gpt2Block block) => block.Config.ActivationFunction != "gelu";
}
