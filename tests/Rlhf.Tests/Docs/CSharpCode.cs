using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Scripting;
using Microsoft.CodeAnalysis.Scripting;

namespace Rlhf.Tests.Docs;

/// <summary>
/// Compiles and runs C# the way a notebook does (cell after cell) and the way a program does (top-level statements).
/// </summary>
internal static class CSharpCode
{
    // What a project with ImplicitUsings and a C# notebook both have.
    private static readonly string[] Imports =
    [
        "System", "System.Collections.Generic", "System.IO", "System.Linq", "System.Net.Http", "System.Threading",
        "System.Threading.Tasks",
    ];

    public static ScriptOptions Options { get; } = ScriptOptions.Default.WithImports(Imports)
        .AddReferences([typeof(Enumerable).Assembly, typeof(HttpClient).Assembly,
            typeof(Rlhf.Runtime.Native.LibTorch).Assembly, typeof(Rlhf.Training.Ppo.PpoTrainer).Assembly, typeof(TorchSharp.torch).Assembly,
            typeof(Microsoft.ML.OnnxRuntime.InferenceSession).Assembly, typeof(Microsoft.ML.OnnxRuntimeGenAI.Model).Assembly])
        .WithLanguageVersion(LanguageVersion.Latest);

    public static string[] Errors(Script script) => Errors(script.GetCompilation());

    /// <summary>Errors of a program of top-level statements.</summary>
    public static string[] Errors(string program) => Errors(Compile(program));

    /// <summary>A program of top-level statements.</summary>
    public static CSharpCompilation Compile(string program)
    {
        var parsing = new CSharpParseOptions(LanguageVersion.Latest);
        string imports = string.Concat(Imports.Select(i => $"global using {i};\n"));
        var platform = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(path => path.Length > 0).Select(path => MetadataReference.CreateFromFile(path));
        return CSharpCompilation.Create("Program",
            [CSharpSyntaxTree.ParseText(imports, parsing), CSharpSyntaxTree.ParseText(program, parsing)], platform,
            new CSharpCompilationOptions(OutputKind.ConsoleApplication, nullableContextOptions: NullableContextOptions.Enable));
    }

    private static string[] Errors(Compilation compilation) =>
        [.. compilation.GetDiagnostics().Where(d => d.Severity == DiagnosticSeverity.Error).Select(d => d.ToString())];
}
