namespace Rlhf.Cli.Benchmarks;

/// <summary>Parts one after another in this process, each between two measurements of what the machine can do: that changes within minutes.</summary>
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
        List<(double Matmul, double Fastest, double Memory)> rates = [Measure()];
        int done = 0;
        List<PartResult> results = [];
        foreach (var part in Parts)
        {
            var result = part.Measure(Workload, () => progress?.Invoke(++done), cancellation);
            rates.Add(Measure());
            results.Add(result with
            {
                FastestMatmulGflops = (rates[^2].Fastest + rates[^1].Fastest) / 2,
                MemoryGigabytesPerSecond = (rates[^2].Memory + rates[^1].Memory) / 2,
            });
        }
        return new PartsBenchmarkResult
        {
            Parts = results,
            MatmulGflops = rates.Average(r => r.Matmul),
            FastestMatmulGflops = rates.Average(r => r.Fastest),
            MemoryGigabytesPerSecond = rates.Average(r => r.Memory),
        };
    }

    private (double Matmul, double Fastest, double Memory) Measure() =>
        (Rates.MatmulGflops(), Rates.FastestMatmulGflops(), Rates.MemoryGigabytesPerSecond());
}

/// <summary>What <see cref="PartsBenchmark"/> measured; rates are means over the run, those of a part of before and after it.</summary>
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
            Add("fraction_of_fastest", part.FractionOfFastest);
            Add("fraction_of_memory_rate", part.FractionOfMemoryRate);
            Add("fastest_matmul_gflops", part.FastestMatmulGflops);
            Add("memory_gb_per_second", part.MemoryGigabytesPerSecond);
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
