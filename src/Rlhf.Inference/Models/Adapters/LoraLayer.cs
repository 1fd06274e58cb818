using Rlhf.Models.Layers;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Adapters;

/// <summary>
/// The update of one linear layer: y = x Wᵀ + b + s · (x Aᵀ) Bᵀ. With a magnitude m (DoRA), W + s B A is scaled to rows of length m:
/// y = m / ‖W + s B A‖ · (x Wᵀ + s · (x Aᵀ) Bᵀ) + b.
/// </summary>
/// <remarks>M rows, I inputs, O outputs, r the rank. A and B are float32 whatever the model's weights are.</remarks>
public sealed class LoraLayer
{
    private readonly PretrainedModel model;

    internal LoraLayer(PretrainedModel model, Parameter a, Parameter b, Parameter? magnitude, double scale, double dropout)
    {
        this.model = model;
        (A, B, Magnitude, Scale, Dropout) = (a, b, magnitude, scale, dropout);
    }

    /// <summary>[r, I].</summary>
    public Parameter A { get; }

    /// <summary>[O, r].</summary>
    public Parameter B { get; }

    /// <summary>[O], the length of each row of the weights that the layer computes with (DoRA); null without.</summary>
    public Parameter? Magnitude { get; }

    /// <summary>s, what B · A is multiplied with.</summary>
    public double Scale { get; }

    /// <summary>Share of the inputs that A does not see in training.</summary>
    public double Dropout { get; }

    /// <summary>A, B, and the magnitude where there is one.</summary>
    public IEnumerable<Parameter> Parameters => Magnitude is null ? [A, B] : [A, B, Magnitude];

    /// <summary>[M, I] to [M, O], differentiable; gradients of A and B go straight into their <c>grad</c>.</summary>
    internal Tensor Apply(Linear layer, Tensor x)
    {
        bool drops = Dropout > 0 && model.Training;
        var seen = drops ? nn.functional.dropout(x, Dropout, true) : x;
        var y = layer.Product(x);
        var update = Update(seen);
        if (Magnitude is null)
            return y + update.to(y.dtype);
        // The norm counts as a constant (section 4.3 of the paper).
        var factor = Magnitude / Norm(layer.Weight, layer.IsConv1D);
        var own = drops ? Affine(seen, layer, null) : layer.Bias is { } bias ? y - bias : y;
        return y + ((factor - 1) * own + factor * update).to(y.dtype);
    }

    /// <summary>s · (x Aᵀ) Bᵀ [M, O], differentiable.</summary>
    private Tensor Update(Tensor x) => MatrixProduct.Linear(MatrixProduct.Linear(x.to(A.dtype), A) * Scale, B);

    /// <summary>Adds the update to logits [M, O] of hidden states [M, I], without gradient.</summary>
    internal Tensor AddTo(Tensor logits, Tensor hidden) =>
        logits.add_(MatrixProduct.Of(Inner(hidden), B.t(), exact: true));

    /// <summary>
    /// For an output layer that forms its gradients itself: adds those of A and B, and returns the part [M, I] of the input's gradient
    /// that comes through them.
    /// </summary>
    /// <param name="outputGradient">[M, O].</param>
    /// <param name="input">[M, I].</param>
    internal Tensor Backward(Tensor outputGradient, Tensor input)
    {
        var through = MatrixProduct.Of(outputGradient, B).mul_(Scale); // [M, r]
        if (B.requires_grad)
            B.grad = MatrixProduct.Accumulate(B.grad, outputGradient.t(), Inner(input));
        if (A.requires_grad)
            A.grad = MatrixProduct.Accumulate(A.grad, through.t(), input.to(A.dtype));
        return MatrixProduct.Of(through, A);
    }

    /// <summary>The weight with the update in it, in the layer's own layout and type (of int8: float32); without gradient.</summary>
    internal Tensor Merged(Tensor weight, bool isConv1D)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var whole = Whole(weight, isConv1D);
        if (Magnitude is not null)
            whole = (Magnitude / whole.norm(1)).unsqueeze(1) * whole;
        return (isConv1D ? whole.t().contiguous() : whole).to(weight is Int8Parameter ? float32 : weight.dtype).MoveToOuterDisposeScope();
    }

    /// <summary>‖W + s B A‖ of each row [O], without gradient.</summary>
    internal Tensor Norm(Tensor weight, bool isConv1D)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return Whole(weight, isConv1D).norm(1).MoveToOuterDisposeScope();
    }

    /// <summary>W + s B A [O, I], float32.</summary>
    private Tensor Whole(Tensor weight, bool isConv1D) =>
        MatrixProduct.Of(B, A, exact: true).mul_(Scale).add_(isConv1D ? NarrowMatrix.Widened(weight).t() : NarrowMatrix.Widened(weight));

    /// <summary>s · x Aᵀ [M, r], without gradient.</summary>
    private Tensor Inner(Tensor x) => MatrixProduct.Of(x.to(A.dtype), A.t(), exact: true).mul_(Scale);

    private static Tensor Affine(Tensor x, Linear layer, Tensor? bias) =>
        layer.IsConv1D ? MatrixProduct.Conv1D(x, layer.Weight, bias) : MatrixProduct.Linear(x, layer.Weight, bias);
}
