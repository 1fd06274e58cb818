using System.Text.RegularExpressions;
using Rlhf.Runtime.Native;

namespace Rlhf.Tests.Runtime;

public sealed partial class LibTorchTests
{
    [Theory]
    [InlineData("linux-x64")]
    [InlineData("win-x64")]
    [InlineData("win-arm64")]
    [InlineData("osx-arm64")]
    public void A_program_without_libtorch_hears_which_package_to_add(string platform)
    {
        Assert.EndsWith($"dotnet add package libtorch-cpu-{platform} --version {LibTorch.Version}",
            LibTorch.Remedy(platform, present: false, "not found"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("osx-x64", "linux-x64, win-x64, win-arm64 and osx-arm64 only")]
    [InlineData("linux-arm64", "linux-x64, win-x64, win-arm64 and osx-arm64 only")]
    [InlineData("linux-musl-x64", "glibc")]
    public void A_platform_without_a_package_is_told_so(string platform, string expected) =>
        Assert.Contains(expected, LibTorch.Remedy(platform, present: false, "not found"), StringComparison.Ordinal);

    [Fact]
    public void A_libtorch_that_is_there_but_does_not_load_keeps_its_reason() =>
        Assert.StartsWith("libgomp.so.1 is missing", LibTorch.Remedy("linux-x64", present: true, "libgomp.so.1 is missing."),
            StringComparison.Ordinal);

    /// <summary>The version stands in Directory.Packages.props; what people read must say the same.</summary>
    [Theory]
    [InlineData("packaging/Rlhf.md")]
    [InlineData("packaging/Rlhf.targets")]
    [InlineData("docs/packages.md")]
    [InlineData("README.md")]
    public void Every_page_names_the_version_that_is_pinned(string page)
    {
        var text = File.ReadAllText(Path.Combine(Fixtures.Repository(), page));
        var named = VersionOption().Matches(text).Select(m => m.Groups[1].Value).ToArray();
        Assert.NotEmpty(named);
        Assert.All(named, version => Assert.Equal(LibTorch.Version, version));
    }

    [GeneratedRegex(@"libtorch-cpu-\S+ --version ([0-9.]+[0-9])")]
    private static partial Regex VersionOption();
}
