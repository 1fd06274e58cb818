using System.Reflection;
using System.Runtime.Loader;

namespace Rlhf.Fuzz;

/// <summary>
/// Loads copies of this project's assemblies, and of the libraries that parse for it, into which SharpFuzz has put probes at
/// every branch. Everything else is shared with the process.
/// </summary>
internal sealed class InstrumentedContext : AssemblyLoadContext
{
    private static readonly string[] Probed = ["Rlhf.Inference", "Rlhf", "Rlhf.Cli", "Parquet", "CsvHelper", "YamlDotNet"];
    private readonly string folder;

    /// <summary>Makes the copies.</summary>
    /// <param name="folder">Where they go.</param>
    public InstrumentedContext(string folder)
    {
        this.folder = Directory.CreateDirectory(folder).FullName;
        foreach (var name in Probed)
        {
            var copy = Path.Combine(this.folder, name + ".dll");
            File.Copy(Path.Combine(AppContext.BaseDirectory, name + ".dll"), copy, overwrite: true);
            SharpFuzz.Fuzzer.Instrument(copy, _ => true, SharpFuzz.Options.Value);
        }
        // The targets refer to the copies, so they are loaded beside them.
        var own = typeof(InstrumentedContext).Assembly.Location;
        File.Copy(own, Path.Combine(this.folder, Path.GetFileName(own)), overwrite: true);
    }

    /// <summary>This project's assembly, bound to the copies.</summary>
    public Assembly Own => LoadFromAssemblyName(typeof(InstrumentedContext).Assembly.GetName());

    protected override Assembly? Load(AssemblyName assemblyName)
    {
        var path = Path.Combine(folder, assemblyName.Name + ".dll");
        return File.Exists(path) ? LoadFromAssemblyPath(path) : null;
    }
}
