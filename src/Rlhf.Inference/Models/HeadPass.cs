using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>What the forward pass through an output layer gives for R rows.</summary>
/// <param name="Logprobs">Logprobs [R] of the targets.</param>
/// <param name="Entropy">Entropies [R], when asked for.</param>
public readonly record struct HeadScores(Tensor Logprobs, Tensor? Entropy);

/// <summary>What both passes through an output layer give for R rows.</summary>
/// <param name="Logprobs">Logprobs [R] of the targets.</param>
/// <param name="Entropy">Entropies [R], when asked for.</param>
/// <param name="HiddenGradient">Gradient of the loss by the hidden states [R, D].</param>
public sealed record HeadPass(Tensor Logprobs, Tensor? Entropy, Tensor HiddenGradient)
{
    /// <summary>The forward pass's part.</summary>
    public HeadScores Scores => new(Logprobs, Entropy);
}
