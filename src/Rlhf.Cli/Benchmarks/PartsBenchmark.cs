namespace Rlhf.Cli.Benchmarks;

/// <summary>Parts one after another in this process, between two measurements of what the machine can do.</summary>
internal sealed class PartsBenchmark
{
    /// <summary>The sizes.</summary>
    public required PartWorkload Workload { get; init; }

    /// <summary>What to measure.</summary>
    public required IReadOnlyList<BenchmarkPart> Parts { get; init; }

    /// <summary>What measures the machine.</summary>
    public required MachineRates Rates { get; init; }

    /// <summary>Steps of all parts, those that warm up included.</summary>
    public int TotalSteps => Parts.Count * (Workload.Steps + 1);

    /// <summary>Measures.</summary>
    /// <param name="progress">Called with the number of steps so far.</param>
    /// <param name="cancellation">Stops between steps.</param>
    public PartsBenchmarkResult Run(Action<int>? progress = null, CancellationToken cancellation = default)
    {
        var before = Measure();
        int done = 0;
        List<PartResult> results = [];
        foreach (var part in Parts)
            results.Add(part.Measure(Workload, () => progress?.Invoke(++done), cancellation));
        var after = Measure();
        return new PartsBenchmarkResult
        {
            Parts = results,
            MatmulGflops = (before.Matmul + after.Matmul) / 2,
            FastestMatmulGflops = (before.Fastest + after.Fastest) / 2,
            MemoryGigabytesPerSecond = (before.Memory + after.Memory) / 2,
        };
    }

    private (double Matmul, double Fastest, double Memory) Measure() =>
        (Rates.MatmulGflops(), Rates.FastestMatmulGflops(), Rates.MemoryGigabytesPerSecond());
}

/// <summary>What <see cref="PartsBenchmark"/> measured; rates are means of before and after.</summary>
internal sealed record PartsBenchmarkResult
{
    /// <summary>The parts, in order.</summary>
    public required IReadOnlyList<PartResult> Parts { get; init; }

    /// <summary>Rate of libtorch's own float32 product.</summary>
    public required double MatmulGflops { get; init; }

    /// <summary>Rate of the product that the models take.</summary>
    public required double FastestMatmulGflops { get; init; }

    /// <summary>Rate at which memory is read.</summary>
    public required double MemoryGigabytesPerSecond { get; init; }

    /// <summary>Largest resident memory of the process.</summary>
    public double PeakMemoryMib => Parts.Max(p => p.PeakMemoryMib);

    /// <summary>Useful arithmetic per second, over the rate of the models' own product; null where arithmetic says nothing.</summary>
    public double? FractionOfFastest(PartResult part) => part.Gflop / part.Seconds / FastestMatmulGflops;

    /// <summary>Bytes that have to be read per second, over the rate of memory; null where that says nothing.</summary>
    public double? FractionOfMemoryRate(PartResult part) => part.Gigabytes / part.Seconds / MemoryGigabytesPerSecond;

    /// <summary>The numbers under their names, as JSON has them.</summary>
    public IReadOnlyDictionary<string, object> Numbers()
    {
        Dictionary<string, object> numbers = [];
        foreach (var part in Parts)
        {
            string name = part.Part.Name.Replace('-', '_');
            void Add(string what, object? value)
            {
                if (value is not null)
                    numbers.Add($"{name}_{what}", value);
            }
            Add("s", part.Seconds);
            Add("tokens_per_second", part.Tokens / part.Seconds);
            Add("gflop", part.Gflop);
            Add("fraction_of_fastest", FractionOfFastest(part));
            Add("fraction_of_memory_rate", FractionOfMemoryRate(part));
            Add("peak_memory_mib", part.PeakMemoryMib);
            Add("live_tensors", part.LiveTensors);
        }
        numbers.Add("matmul_gflops", MatmulGflops);
        numbers.Add("fastest_matmul_gflops", FastestMatmulGflops);
        numbers.Add("memory_gb_per_second", MemoryGigabytesPerSecond);
        numbers.Add("peak_memory_mib", PeakMemoryMib);
        return numbers;
    }
}
