using Rlhf.Runtime.Native;
using TorchSharp;

namespace Rlhf.Tests.Runtime;

public sealed class MachineMemoryTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    [Fact]
    public void ThisMachineHasSome() => Assert.InRange(MachineMemory.Available(torch.CPU)!.Value.Bytes, 1, 1L << 46);

    [Fact]
    public void WithoutLimitsItIsWhatTheKernelCallsAvailable()
    {
        Write("proc/meminfo", "MemTotal:  8000 kB\nMemFree:  1000 kB\nMemAvailable:  3000 kB\n");
        Write("proc/self/cgroup", "0::/\n");
        Assert.Equal((3000L << 10, "on this machine"), Host());
        Write("proc/self/cgroup", "0::/a/b\n");
        Write("cgroup/a/memory.max", "max\n");
        Write("cgroup/a/memory.current", "5\n");
        Assert.Equal(3000L << 10, Host()!.Value.Bytes);
    }

    [Fact]
    public void TheTightestGroupAboveDecidesAndCachedFilesAreFree()
    {
        Write("proc/meminfo", "MemAvailable:  3000 kB\n");
        Write("proc/self/cgroup", "0::/a/b\n");
        Write("cgroup/a/memory.max", "1000000\n");
        Write("cgroup/a/memory.current", "900000\n");
        Write("cgroup/a/memory.stat", "anon 1\ninactive_file 50000\n");
        Write("cgroup/a/b/memory.max", "2000000\n");
        Write("cgroup/a/b/memory.current", "10\n");
        Assert.Equal((150_000L, "within the limit of this container"), Host());
        Write("cgroup/a/memory.current", "2000000\n"); // over its limit for a moment
        Write("cgroup/a/memory.stat", "");
        Assert.Equal(0, Host()!.Value.Bytes);
    }

    [Theory]
    [InlineData("/", "cgroup/memory")]
    [InlineData("/docker/4711", "cgroup/memory")] // the container sees its own group as the root
    [InlineData("/docker/4711", "cgroup/memory/docker/4711")]
    public void TheFirstVersionOfControlGroupsIsReadToo(string group, string at)
    {
        Write("proc/meminfo", "MemAvailable:  3000 kB\n");
        Write("proc/self/cgroup", $"9:name=systemd:/\n4:memory:{group}\n0::/\n");
        Write(at + "/memory.limit_in_bytes", "500000\n");
        Write(at + "/memory.usage_in_bytes", "200000\n");
        Write(at + "/memory.stat", "total_inactive_file 100\n");
        Assert.Equal(300_100, Host()!.Value.Bytes);
    }

    [Fact]
    public void NothingIsKnownWithoutFiles() => Assert.Null(Host());

    public void Dispose() => folder.Dispose();

    private (long Bytes, string Where)? Host() =>
        MachineMemory.Host(Path.Combine(folder.Path, "proc"), Path.Combine(folder.Path, "cgroup"));

    private void Write(string file, string content)
    {
        string path = Path.Combine(folder.Path, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content);
    }
}
