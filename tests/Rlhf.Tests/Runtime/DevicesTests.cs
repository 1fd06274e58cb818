using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using TorchSharp;

namespace Rlhf.Tests.Runtime;

public sealed class DevicesTests
{
    [Fact]
    public void NamesAreNotCaseSensitive() => Assert.Equal(DeviceType.CPU, Devices.Resolve("CPU").type);

    [Theory]
    [InlineData("tpu")]
    [InlineData("")]
    [InlineData("cuda:x")]
    [InlineData("cuda:-1")]
    [InlineData("cuda:999")]
    public void OthersAreRefused(string name) =>
        Assert.Contains($"evice '{name}'", Assert.Throws<ArgumentException>(() => Devices.Resolve(name)).Message, StringComparison.Ordinal);
}
