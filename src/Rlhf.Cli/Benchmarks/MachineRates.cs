using System.Diagnostics;
using Rlhf.Evaluation;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Cli.Benchmarks;

/// <summary>What the machine can do, measured in this process: what benchmarks are a fraction of.</summary>
/// <param name="device">Where to measure.</param>
/// <param name="matmulSize">Edge of the matrices that are multiplied.</param>
internal sealed class MachineRates(Device device, int matmulSize = 2048)
{
    // Far more than a processor's caches hold.
    private const long MemoryElements = 64 << 20;

    /// <summary>Rate of libtorch's own float32 product, in GFLOP/s: the median of several.</summary>
    public double MatmulGflops(int repetitions = 9) => ProductRate(repetitions, (a, b, c) => c.addmm_(a, b, beta: 0, alpha: 1));

    /// <summary>The same of the product that the models take (<see cref="MatrixProduct"/>).</summary>
    public double FastestMatmulGflops(int repetitions = 9) => ProductRate(repetitions, (a, b, _) => MatrixProduct.Of(a, b).Dispose());

    /// <summary>Rate at which all threads together read memory, in GB/s: the median of several sums of 256 MB.</summary>
    public double MemoryGigabytesPerSecond(int repetitions = 9)
    {
        using var scope = NewDisposeScope();
        var numbers = ones([MemoryElements], device: device);
        double seconds = Median(repetitions, () => numbers.sum().Dispose());
        return MemoryElements * sizeof(float) / seconds / 1e9;
    }

    private double ProductRate(int repetitions, Action<Tensor, Tensor, Tensor> multiply)
    {
        double n = matmulSize;
        using var scope = NewDisposeScope();
        Tensor a = randn(matmulSize, matmulSize, device: device), b = randn(matmulSize, matmulSize, device: device), c = empty_like(a);
        return 2 * n * n * n / Median(repetitions, () => multiply(a, b, c)) / 1e9;
    }

    /// <summary>Median of the seconds that an action takes, after two times that warm up.</summary>
    private double Median(int repetitions, Action action)
    {
        var seconds = new double[repetitions];
        for (int i = -2; i < repetitions; i++)
        {
            long start = Stopwatch.GetTimestamp();
            action();
            Synchronize(device);
            if (i >= 0)
                seconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        return SampleStatistics.Of(seconds).Median;
    }

    /// <summary>Largest resident memory of the process so far, in MiB.</summary>
    public static double PeakMemoryMib()
    {
        using var process = Process.GetCurrentProcess();
        process.Refresh();
        return process.PeakWorkingSet64 / 1048576.0;
    }

    /// <summary>Waits for a GPU.</summary>
    public static void Synchronize(Device device)
    {
        if (device.type == DeviceType.CUDA)
            cuda.synchronize();
    }
}
