using System.Diagnostics;
using Rlhf.Evaluation;
using Rlhf.Models;
using Rlhf.Runtime;

namespace Rlhf.Cli.Benchmarks;

/// <summary>
/// One workload of <c>rlhf bench --parts</c>, on random weights of a model's shape. To add one, derive from this class and list it in
/// <see cref="BenchmarkParts"/>; its name becomes the prefix of its numbers: <c>NAME_s</c>, <c>NAME_fraction_of_fastest</c>.
/// </summary>
internal abstract class BenchmarkPart
{
    /// <summary>Its name in <c>--parts</c>.</summary>
    public abstract string Name { get; }

    /// <summary>What is measured, in a few words.</summary>
    public abstract string Description { get; }

    /// <summary>Are all weights of the model trained?</summary>
    public virtual bool TrainsAllWeights => true;

    /// <summary>Makes the model and what else a step needs; the seconds of this are not counted.</summary>
    public abstract IBenchmarkRun Prepare(PartWorkload workload);

    /// <summary>Runs the steps.</summary>
    /// <param name="workload">The sizes.</param>
    /// <param name="progress">Called after each step; the first warms up.</param>
    /// <param name="cancellation">Stops between steps.</param>
    public PartResult Measure(PartWorkload workload, Action? progress = null, CancellationToken cancellation = default)
    {
        using var run = Prepare(workload);
        List<double> seconds = [];
        List<long> live = [];
        for (int step = 0; step <= workload.Steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            long start = Stopwatch.GetTimestamp();
            run.Step(step);
            MachineRates.Synchronize(workload.Device);
            if (step > 0)
                seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            live.Add(TorchSharp.torch.Tensor.TotalCount);
            progress?.Invoke();
        }
        return new PartResult
        {
            Part = this,
            Seconds = SampleStatistics.Of([.. seconds]).Median,
            Gflop = run.Gflop,
            Gigabytes = run.Gigabytes,
            Tokens = run.Tokens,
            PeakMemoryMib = MachineRates.PeakMemoryMib(),
            LiveTensors = live,
        };
    }
}

/// <summary>A part that is ready to take steps.</summary>
internal interface IBenchmarkRun : IDisposable
{
    /// <summary>Takes a step; all steps are of the same size.</summary>
    void Step(int index);

    /// <summary>Useful arithmetic of a step, in 10⁹ operations (<see cref="UsefulFlops"/>); null where that says nothing.</summary>
    double? Gflop => null;

    /// <summary>What a step has to read from memory at least, in 10⁹ bytes; null where that says nothing.</summary>
    double? Gigabytes => null;

    /// <summary>Tokens that a step reads or writes.</summary>
    long Tokens { get; }
}

/// <summary>Sizes of a workload.</summary>
internal sealed record PartWorkload
{
    /// <summary>Shape of the model.</summary>
    public required ModelConfig Model { get; init; }

    /// <summary>Token ids of each row, query and answer together.</summary>
    public required IReadOnlyList<int[]> Rows { get; init; }

    /// <summary>Tokens of each query to generate for.</summary>
    public required IReadOnlyList<int[]> Queries { get; init; }

    /// <summary>Tokens of each answer, where answers are told apart.</summary>
    public int AnswerTokens { get; init; } = 96;

    /// <summary>Optimization passes over a rollout.</summary>
    public int Epochs { get; init; } = 4;

    /// <summary>Steps that count, after one that warms up.</summary>
    public int Steps { get; init; } = 3;

    /// <summary>Seed of weights and tokens.</summary>
    public long Seed { get; init; }

    /// <summary>Where and how to compute.</summary>
    public ComputePlan Plan { get; init; } = ComputePlan.Default;

    /// <summary>Where to compute.</summary>
    public TorchSharp.torch.Device Device => Plan.Device;

    /// <summary>The model's sizes.</summary>
    public ModelShape Shape => ModelShape.Of(Model);

    /// <summary>Tokens of each row.</summary>
    public IEnumerable<int> Lengths => Rows.Select(r => r.Length);

    /// <summary>Rows of random tokens: lengths are drawn once, so that every part sees the same rows.</summary>
    /// <param name="seed">Of lengths and tokens.</param>
    /// <param name="name">What the rows are for.</param>
    /// <param name="count">Number of rows.</param>
    /// <param name="lengths">Their lengths.</param>
    /// <param name="vocabSize">Number of token ids.</param>
    public static IReadOnlyList<int[]> RandomRows(long seed, string name, int count, Data.Batching.LengthSampler lengths, int vocabSize)
    {
        var random = new RandomStream(seed, name);
        return [.. lengths.Sample(random, count).Select(n => Enumerable.Range(0, n).Select(_ => random.NextInt32(0, vocabSize)).ToArray())];
    }

    /// <summary>A model of the shape with random weights.</summary>
    public CausalLM NewModel()
    {
        var model = AutoModelForCausalLM.FromConfig(Model, Plan);
        model.Initialize(Seed);
        return model;
    }
}

/// <summary>What a part came to.</summary>
internal sealed record PartResult
{
    /// <summary>The part.</summary>
    public required BenchmarkPart Part { get; init; }

    /// <summary>Median seconds of a step.</summary>
    public required double Seconds { get; init; }

    /// <summary>Useful arithmetic of a step, in 10⁹ operations.</summary>
    public double? Gflop { get; init; }

    /// <summary>What a step has to read at least, in 10⁹ bytes.</summary>
    public double? Gigabytes { get; init; }

    /// <summary>Tokens of a step.</summary>
    public long Tokens { get; init; }

    /// <summary>Largest resident memory of the process up to the end of the part.</summary>
    public double PeakMemoryMib { get; init; }

    /// <summary>Rate of the product that the models take, around the part.</summary>
    public double FastestMatmulGflops { get; init; }

    /// <summary>Rate at which memory is read, around the part.</summary>
    public double MemoryGigabytesPerSecond { get; init; }

    /// <summary>Useful arithmetic per second, over the rate of the models' own product; null where arithmetic says nothing.</summary>
    public double? FractionOfFastest => Gflop / Seconds / FastestMatmulGflops;

    /// <summary>Bytes that have to be read per second, over the rate of memory; null where that says nothing.</summary>
    public double? FractionOfMemoryRate => Gigabytes / Seconds / MemoryGigabytesPerSecond;

    /// <summary>Live tensors after each step.</summary>
    public IReadOnlyList<long> LiveTensors { get; init; } = [];
}
