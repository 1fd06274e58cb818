using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Rlhf.Runs;
using Rlhf.Studio.Runs;

namespace Rlhf.Studio.Hosting;

/// <summary>
/// A run's own report.html, or one that is made of its files: for a run that was killed, or that logged more since. It may hold anything,
/// so it is shown as a page of no origin that reaches nothing.
/// </summary>
internal static class Reports
{
    private const string Policy = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        + "img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    private static readonly SemaphoreSlim Making = new(1); // a long run's files take a while: one after the other

    /// <summary>The address of a run's report.</summary>
    public static string Url(string run) => $"/report?run={Uri.EscapeDataString(run)}";

    public static void MapReports(this IEndpointRouteBuilder app) =>
        app.MapGet("/report", async (string run, RunCatalog runs, StudioOptions options, HttpContext context) =>
        {
            string? path = runs.FileOf(run, RunFiles.Report);
            string? page = path is null || IsOld(path) ? await MakeAsync(run, runs, options, context.RequestAborted) : null;
            if (page is null && path is null)
                return Results.NotFound("This run has no report.html.");
            context.Response.Headers.ContentSecurityPolicy = Policy;
            return page is not null ? Results.Content(page, "text/html; charset=utf-8")
                : Results.Stream(File.OpenRead(path!), "text/html; charset=utf-8");
        });

    /// <summary>Has the run logged steps since?</summary>
    private static bool IsOld(string report) => File.GetLastWriteTimeUtc(report)
        < File.GetLastWriteTimeUtc(Path.Combine(Path.GetDirectoryName(report)!, RunFiles.Metrics));

    private static async Task<string?> MakeAsync(string run, RunCatalog runs, StudioOptions options, CancellationToken cancellation)
    {
        if (options.MakeReport is not { } make || runs.FileOf(run, RunFiles.Metrics) is null || runs.FolderToRead(run, RunFiles.Config,
            RunFiles.Metrics, RunFiles.Samples, RunFiles.Summary, RunFiles.Evaluation, RunFiles.Info) is not { } folder)
            return null;
        await Making.WaitAsync(cancellation);
        try
        {
            return await Task.Run(() => make(folder), cancellation);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // its files are being replaced
        }
        finally
        {
            Making.Release();
        }
    }
}
