using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Runtime.Operators;

/// <summary>A matrix that is only read, as int8 with one float32 scale for each output: w = s · q, s = max |w| / 127 over the output's weights.</summary>
internal sealed class Int8Parameter : Parameter
{
    private const int Largest = 127;
    private const long ElementsAtOnce = 4 << 20;

    private Int8Parameter(Tensor codes, Tensor scale, int outputAxis) : base(codes, requires_grad: false) => (Scale, OutputAxis) = (scale, outputAxis);

    /// <summary>s [O].</summary>
    public Tensor Scale { get; }

    /// <summary>0 where the matrix is [O, I], 1 where it is [I, O].</summary>
    public int OutputAxis { get; }

    /// <summary>A matrix of zeros; the caller owns it.</summary>
    public static Int8Parameter Create(long[] shape, int outputAxis, Device device)
    {
        using var codes = torch.zeros(shape, int8, device);
        var parameter = new Int8Parameter(codes, torch.ones(new[] { shape[outputAxis] }, float32, device).DetachFromDisposeScope(), outputAxis);
        parameter.DetachFromDisposeScope();
        return parameter;
    }

    /// <summary>Another of the same shape.</summary>
    public Int8Parameter CreateLike() => Create(shape, OutputAxis, device);

    /// <summary>Takes the values of a matrix of the same shape.</summary>
    /// <exception cref="InvalidDataException">One of them is not finite.</exception>
    public void Take(Tensor values)
    {
        using var noGrad = no_grad();
        long outputs = shape[OutputAxis], step = Math.Max(1, ElementsAtOnce / Math.Max(1, numel() / outputs));
        for (long start = 0; start < outputs; start += step)
        {
            using var scope = NewDisposeScope();
            long count = Math.Min(step, outputs - start);
            var part = values.narrow(OutputAxis, start, count).to(float32);
            var scale = part.abs().amax([1L - OutputAxis], keepdim: true).div_(Largest);
            if (!scale.isfinite().all().cpu().item<bool>())
                throw new InvalidDataException("A weight is not a finite number, and cannot be kept as int8.");
            scale.masked_fill_(scale.eq(0), 1); // an output of zeros
            this.narrow(OutputAxis, start, count).copy_(part.div(scale).round_().clamp_(-Largest, Largest));
            Scale.narrow(0, start, count).copy_(scale.flatten());
        }
    }

    /// <summary>Takes the numbers of another such matrix.</summary>
    public void CopyFrom(Int8Parameter other)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        copy_(other);
        Scale.copy_(other.Scale);
    }

    /// <summary>Are all numbers the same?</summary>
    public bool IsSame(Int8Parameter other) => Equals((Tensor)other) && Scale.Equals(other.Scale);
}
