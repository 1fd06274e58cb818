using Rlhf.Runtime.Operators;

namespace Rlhf.Cli.Benchmarks;

/// <summary>What <see cref="PpoBenchmark"/> measured; times are medians over the steps after a warm-up step.</summary>
internal sealed record PpoBenchmarkResult
{
    /// <summary>Seconds to sample a batch's responses.</summary>
    public required double GenerateS { get; init; }

    /// <summary>Seconds to classify a batch.</summary>
    public required double RewardS { get; init; }

    /// <summary>Seconds of a PPO step.</summary>
    public required double PpoStepS { get; init; }

    /// <summary>Of which: the reference's forward pass, and the policy's where the rollout is not reused.</summary>
    public required double ReferenceS { get; init; }

    /// <summary>Of which: epochs of minibatches.</summary>
    public required double OptimizeS { get; init; }

    /// <summary>Of the epochs: forward passes up to the last hidden states.</summary>
    public required double ForwardS { get; init; }

    /// <summary>Of the epochs: the output layer, forward and backward.</summary>
    public required double HeadS { get; init; }

    /// <summary>Of the epochs: the rest of the backward passes.</summary>
    public required double BackwardS { get; init; }

    /// <summary>Of the epochs: clipping and Adam.</summary>
    public required double OptimizerS { get; init; }

    /// <summary>Seconds of all three.</summary>
    public required double TotalS { get; init; }

    /// <summary>Response tokens per second of the whole.</summary>
    public required double TokensPerSecond { get; init; }

    /// <summary>Response tokens per second of generation.</summary>
    public required double GenerateTokensPerSecond { get; init; }

    /// <summary>Query tokens of a batch, mean over steps.</summary>
    public required double QueryTokens { get; init; }

    /// <summary>Response tokens of a batch, mean over steps.</summary>
    public required double ResponseTokens { get; init; }

    /// <summary>Largest resident memory of the process.</summary>
    public required double PeakMemoryMib { get; init; }

    /// <summary>Live tensors after each step.</summary>
    public required IReadOnlyList<long> LiveTensors { get; init; }

    /// <summary>Rate of a 2048³ float32 product of libtorch (torch.mm) in this process, before.</summary>
    public double MatmulGflopsBefore { get; init; }

    /// <summary>The same, after.</summary>
    public double MatmulGflopsAfter { get; init; }

    /// <summary>Rate of that product as the models take it (<see cref="MatrixProduct"/>), before.</summary>
    public double FastestMatmulGflopsBefore { get; init; }

    /// <summary>The same, after.</summary>
    public double FastestMatmulGflopsAfter { get; init; }

    /// <summary>Useful arithmetic of generation, mean over steps.</summary>
    public required double GenerateGflop { get; init; }

    /// <summary>Useful arithmetic of the reward.</summary>
    public required double RewardGflop { get; init; }

    /// <summary>Useful arithmetic of the PPO step.</summary>
    public required double PpoStepGflop { get; init; }

    /// <summary>Mean of the two matrix product rates.</summary>
    public double MatmulGflops => (MatmulGflopsBefore + MatmulGflopsAfter) / 2;

    /// <summary>Useful arithmetic of generation per second, over the matrix product rate.</summary>
    public double GenerateFraction => GenerateGflop / GenerateS / MatmulGflops;

    /// <summary>Useful arithmetic of the reward per second, over the matrix product rate.</summary>
    public double RewardFraction => RewardGflop / RewardS / MatmulGflops;

    /// <summary>Useful arithmetic of the PPO step per second, over the matrix product rate.</summary>
    public double PpoStepFraction => PpoStepGflop / PpoStepS / MatmulGflops;

    /// <summary>Mean of the two rates of the models' own product.</summary>
    public double FastestMatmulGflops => (FastestMatmulGflopsBefore + FastestMatmulGflopsAfter) / 2;

    /// <summary>Useful arithmetic of generation per second, over the rate of the models' own product.</summary>
    public double GenerateFractionOfFastest => GenerateGflop / GenerateS / FastestMatmulGflops;

    /// <summary>Useful arithmetic of the reward per second, over the rate of the models' own product.</summary>
    public double RewardFractionOfFastest => RewardGflop / RewardS / FastestMatmulGflops;

    /// <summary>Useful arithmetic of the PPO step per second, over the rate of the models' own product.</summary>
    public double PpoStepFractionOfFastest => PpoStepGflop / PpoStepS / FastestMatmulGflops;
}
