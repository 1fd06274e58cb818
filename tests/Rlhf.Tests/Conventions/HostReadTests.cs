using System.Text.RegularExpressions;

namespace Rlhf.Tests.Conventions;

/// <summary>
/// On a GPU run every tensor that the host looks at was copied to the CPU before. Read from the sources, as no run on a CPU can notice.
/// </summary>
public sealed partial class HostReadTests
{
    private static readonly string[] Rooms = ["Models", "Generation", "Rewards", "Training", "Evaluation"];

    /// <summary>Reads that need no copy: file, the statement's text, and why.</summary>
    private static readonly (string File, string Text, string Reason)[] Allowed =
    [
        ("Generation/Categorical.cs", "MemoryMarshal.GetReference(row)",
            "a span of managed memory or of a tensor that TokenChooser copied"),
        ("Models/Onnx/OnnxGraph.cs", "MemoryMarshal.AsBytes<", "numbers of a managed array"),
    ];

    /// <summary>Operators of CPUs alone live here; nothing else may name them.</summary>
    private static readonly string[] CpuFiles =
        ["Runtime/Operators/MatrixProduct.cs", "Models/Gpt2/Gpt2FusedBlock.cs", "Models/Decoders/Fused/DecoderScriptWriter.cs"];

    /// <summary>Who may call the fused blocks: both ask <c>Supports</c> first, or are asked by one who did.</summary>
    private static readonly string[] FusedCallers =
        ["Models/Gpt2/Gpt2FusedBlock.cs", "Models/Gpt2/Gpt2FusedTrunk.cs", "Models/Gpt2/Gpt2LMHeadModel.cs",
            "Models/Decoders/Fused/DecoderFusedBlock.cs", "Models/Decoders/Fused/DecoderFusedTrunk.cs", "Models/Decoders/DecoderForCausalLM.cs"];

    public static TheoryData<string> SourceFiles() => [.. Roots.SelectMany(root => Directory.EnumerateFiles(root, "*.cs", SearchOption.AllDirectories)
        .Select(f => Path.GetRelativePath(root, f).Replace('\\', '/'))).Order()];

    private static string[] Roots => [.. new[] { "Rlhf.Inference", "Rlhf" }.Select(project => Path.Combine(Fixtures.Repository(), "src", project))];

    /// <summary>The text of a file of one of the two libraries.</summary>
    private static string Code(string file) => File.ReadAllText(Roots.Select(root => Path.Combine(root, file)).First(File.Exists));

    [Theory]
    [MemberData(nameof(SourceFiles))]
    public void TheHostReadsCopiesOnly(string file)
    {
        if (Rooms.Contains(file.Split('/')[0]))
            Assert.Empty(BareReads(file, Code(file)));
    }

    [Theory]
    [MemberData(nameof(SourceFiles))]
    public void OperatorsOfTheCpuStayBehindTheirCheck(string file)
    {
        string code = Code(file);
        if (!CpuFiles.Contains(file))
            Assert.DoesNotMatch(@"ops\.mkldnn|_for_cpu\b", code);
        if (!FusedCallers.Contains(file))
            Assert.DoesNotMatch(@"\b(Gpt2|Decoder)Fused(Block|Trunk)\.(?!Enabled\b|Supports\b)", Comment().Replace(code, ""));
    }

    [Fact]
    public void EveryUseOfTheFusedBlocksFollowsTheCheck()
    {
        string code = Code("Models/Gpt2/Gpt2LMHeadModel.cs");
        var uses = FusedUse().Matches(code);
        Assert.Equal(3, uses.Count);
        foreach (Match use in uses)
        {
            // Within the method: either it asks itself, or it is the private Prefill, which Forward alone calls, behind the check.
            int start = MethodStart().Matches(code).Last(m => m.Index < use.Index).Index;
            string method = code[start..use.Index];
            Assert.True(method.Contains("CanFuse", StringComparison.Ordinal)
                || method.Contains("private Tensor Prefill(", StringComparison.Ordinal), method);
        }
        Assert.Matches(@"bool CanFuse => Gpt2FusedBlock\.Supports\(", code);
        Assert.Matches(@"CanFuse[^;]*\n[^;]*Prefill\(x, batch, cache\)", code);
    }

    [Theory]
    [InlineData("var n = x.data<float>().ToArray();", 1)]
    [InlineData("var n = x.to(float32).cpu().data<float>().ToArray();", 0)]
    [InlineData("using var host = values.cpu(); var n = host.data<float>();", 0)]
    [InlineData("using var host = values.cpu(); var n = other.data<float>();", 1)]
    [InlineData("if (x.cpu() is var y) { Use(z.sum().item<float>()); }", 1)]
    [InlineData("return loss.ToDouble();", 1)]
    [InlineData("return loss.cpu().ToDouble();", 0)]
    [InlineData("return loss.ToDouble() + x.cpu().ToDouble();", 1)]
    [InlineData("// x.data<float>()\nreturn 0;", 0)]
    [InlineData("var p = Unsafe.AsPointer(ref x.bytes[0]);", 2)]
    public void TheScanFindsBareReads(string code, int count) => Assert.Equal(count, BareReads("Models/X.cs", code).Count());

    private static IEnumerable<string> BareReads(string file, string code)
    {
        code = Comment().Replace(code, "");
        var copies = Copy().Matches(code).Select(m => m.Groups[1].Value).ToHashSet();
        foreach (string statement in code.Split(';', '{', '}'))
            foreach (Match read in Read().Matches(statement))
            {
                // What was read lies between the read and the one before it.
                int from = Read().Matches(statement).Where(m => m.Index < read.Index).Select(m => m.Index + m.Length).LastOrDefault();
                string before = statement[from..read.Index];
                string receiver = Receiver().Match(before).Value;
                bool isCopy = before.Contains(".cpu()", StringComparison.Ordinal) || copies.Contains(receiver)
                    || copies.Any(c => Regex.IsMatch(statement[read.Index..], $@"^(Unsafe\.AsPointer|MemoryMarshal\.\w+)\W.*\b{c}\b"));
                if (!isCopy && !Allowed.Any(a => a.File == file && statement.Contains(a.Text, StringComparison.Ordinal)))
                    yield return $"{file}: {statement.Trim()} reads '{read.Value}' without .cpu()";
            }
    }

    [GeneratedRegex(@"//[^\n]*")]
    private static partial Regex Comment();

    /// <summary>Everything that looks into a tensor's memory from the host.</summary>
    [GeneratedRegex(@"\.data<|\.bytes\b|\.item<|\.To(Single|Double|Half|Int16|Int32|Int64|Boolean|Byte|Scalar)\(\)|Unsafe\.AsPointer|MemoryMarshal\.\w+")]
    private static partial Regex Read();

    /// <summary>A variable that holds a copy.</summary>
    [GeneratedRegex(@"\b(\w+) = [^;]*\.cpu\(\)(?:\.contiguous\(\))?;")]
    private static partial Regex Copy();

    /// <summary>The variable right before a read.</summary>
    [GeneratedRegex(@"\w+$")]
    private static partial Regex Receiver();

    [GeneratedRegex(@"Gpt2FusedTrunk\.Apply\(|Gpt2FusedBlock\.(?:Forward|Decode|ForwardToTrain|Backward)\(")]
    private static partial Regex FusedUse();

    [GeneratedRegex(@"^    (?:public|private|internal|protected) [^\n=;]*\(", RegexOptions.Multiline)]
    private static partial Regex MethodStart();
}
