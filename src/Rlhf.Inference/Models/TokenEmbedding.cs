using Rlhf.Runtime.Operators;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// Rows of an embedding table, whose gradient goes straight into the rows of the table's own. Autograd's would be a whole table
/// of zeros with those rows in it, added to the whole gradient: three passes over [V, D] for a few tokens.
/// </summary>
internal static class TokenEmbedding
{
    /// <summary>Rows [N, D] of a table [V, D].</summary>
    /// <param name="table">The table; a leaf, such as a parameter.</param>
    /// <param name="ids">Row numbers [N], int64.</param>
    /// <param name="type">Element type of the rows, where the table is kept in fewer bytes.</param>
    public static Tensor Lookup(Tensor table, Tensor ids, ScalarType? type = null) => type == float32 && table.dtype != float32
        ? NarrowMatrix.Rows(table, ids) : table.requires_grad && is_grad_enabled()
        ? LookupFunction.apply(table, ids) : table.index_select(0, ids);

    private sealed class LookupFunction : autograd.SingleTensorFunction<LookupFunction>
    {
        public override string Name => "TokenEmbedding";

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            var (table, ids) = ((Tensor)vars[0], (Tensor)vars[1]);
            ctx.save_for_backward([table, ids]);
            return table.index_select(0, ids);
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output) =>
            BackwardPass.Guard(null, grad_output, inputs: 2, () =>
            {
                var saved = ctx.get_saved_variables();
                var (table, ids) = (saved[0], saved[1]);
                using var noGrad = no_grad();
                if (table.grad is null)
                    table.grad = zeros_like(table);
                table.grad!.index_add_(0, ids, grad_output, 1);
                return null;
            });
    }
}
